"""Clients that do at random what clients do: ask, interrupt, stall, break the rules, vanish."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from soak.history import FINALS, History, Violation

ANSWER_SECONDS = 90.0
"""Every request has its final within that, whatever happens: a hung provider is found in 30 s."""
MOST_LIVE = 8
SESSIONS = ["stage", "chat", "radio"]
BROKEN = ["no JSON", "[]", '{"type":"dance"}', '{"type":"generate","messages":[]}']
KEYS = ["sk-soak-canary-1", "sk-soak-canary-2", "sk-soak-canary-3"]

_numbers = itertools.count()


class Crowd:
    """What all clients share: where to go, what to ask for, what came of it."""

    def __init__(self, url: str, upstream: str, draw: random.Random) -> None:
        self.url = url
        self.upstream = upstream
        self.draw = draw
        self.outcomes = Counter[str]()
        self.ending = asyncio.Event()

    async def client(self) -> None:
        """One client after the other, until the end."""
        while not self.ending.is_set():
            try:
                async with open_websocket(self.url, compression=None, max_size=None) as websocket:
                    await Client(self, websocket).live()
            except (ConnectionClosed, InvalidHandshake, OSError):
                self.outcomes["lost connections"] += 1


class Client:
    """One connection's life."""

    def __init__(self, crowd: Crowd, websocket: ClientConnection) -> None:
        self._crowd = crowd
        self._draw = crowd.draw
        self._websocket = websocket
        self._history = History(crowd.outcomes)
        self._idle = asyncio.Event()
        self._pending: Counter[str] = Counter()
        self._vanished = False

    async def live(self) -> None:
        reading = asyncio.create_task(self._read())
        acting = asyncio.create_task(self._act())
        try:
            await asyncio.wait([reading, acting], return_when=asyncio.FIRST_COMPLETED)
        finally:
            acting.cancel()
            reading.cancel()
            ended = await asyncio.gather(reading, acting, return_exceptions=True)
        for each in ended:
            if isinstance(each, ConnectionClosed) and not self._vanished:
                raise Violation(f"the module hung up: {each}")
            if isinstance(each, Exception) and not isinstance(each, ConnectionClosed):
                raise each

    async def _act(self) -> None:
        await self._load()
        for _ in range(self._draw.randint(1, 40)):
            deed = self._draw.choices(list(_DEEDS), list(_DEEDS.values()))[0]
            await deed(self)
            await asyncio.sleep(self._draw.expovariate(20))
        if self._draw.random() < 0.3:
            self._vanished = True
            self._websocket.transport.abort()
            return
        await self._until_all_is_answered()

    async def _until_all_is_answered(self) -> None:
        async with asyncio.timeout(ANSWER_SECONDS):
            while self._history.live or +self._pending:
                self._idle.clear()
                await self._idle.wait()

    async def _read(self) -> None:
        async for frame in self._websocket:
            message = json.loads(frame)
            self._history.heard(message)
            kind = message["type"]
            if kind.endswith("_done") and kind not in FINALS:
                self._pending[kind] -= 1
            self._idle.set()

    async def _send(self, type: str, **fields: Any) -> None:
        await self._websocket.send(json.dumps({"type": type, **fields}))

    # What it does

    async def _load(self) -> None:
        self._pending["load_done"] += 1
        if self._draw.random() < 0.5:
            await self._send("load", unique_request_id="load", provider="echo")
        else:
            key = self._draw.choice(KEYS)
            address = {"api_key": key, "base_url": self._crowd.upstream}
            await self._send("load", unique_request_id="load", provider="openai", **address)

    async def _generate(self) -> None:
        if len(self._history.live) >= MOST_LIVE:
            return
        id, stream = f"r{next(_numbers)}", self._draw.random() < 0.8
        words = [f"{id}:{number} " for number in range(self._draw.randint(1, 60))]
        named = self._draw.choice(["echo", None])
        self._history.asked(id, "".join(words), stream)
        await self._send(
            "generate",
            unique_request_id=id,
            messages=[{"role": "user", "content": "".join(words)}],
            params=self._params(words),
            stream=stream,
            session=self._draw.choice([None, *SESSIONS]),
            **({"provider": named} if named else {}),
        )

    def _params(self, words: list[str]) -> dict[str, Any]:
        """Both providers say the same words: each reads its own part of this."""
        pace = self._draw.choice([0, 0, 1, 5, 20])
        silence = self._draw.choice([0, 0, 0, 50, 500])
        fault = self._draw.choice(["done"] * 8 + ["cut", "error", "reset"])
        fake = {"text": words, "delay_ms": pace, "first_delay_ms": silence, "end": fault}
        fake["any_model"] = True
        extra = {"delay_ms": pace, "first_delay_ms": silence, "fake": fake}
        if self._draw.random() < 0.1:
            extra |= {"error": "RATE_LIMITED", "fail_after": self._draw.randint(0, len(words) - 1)}
        timeout = self._draw.choice([None] * 9 + [30])
        return {"model_id": MODEL, "extra": extra, "timeout_ms": timeout}

    async def _interrupt(self) -> None:
        live = [*self._history.live, "nobody"]
        what = self._draw.choice(
            [{}, {"target": self._draw.choice(live)}, {"session": self._draw.choice(SESSIONS)}]
        )
        await self._send("interrupt", unique_request_id="stop", **what)

    async def _look_around(self) -> None:
        asked = self._draw.choice(["status", "get_models", "get_providers"])
        self._pending[f"{asked}_done"] += 1
        await self._send(asked, unique_request_id="look")

    async def _break_the_rules(self) -> None:
        await self._websocket.send(self._draw.choice(BROKEN))

    async def _stall(self) -> None:
        """Read nothing for a while."""
        self._websocket.transport.pause_reading()
        await asyncio.sleep(self._draw.expovariate(2))
        if not self._websocket.transport.is_closing():
            self._websocket.transport.resume_reading()

    async def _unload_and_load(self) -> None:
        self._pending["unload_done"] += 1
        await self._send("unload", unique_request_id="unload")
        await self._load()


MODEL = "echo"
Deed = Callable[[Client], Awaitable[None]]
_DEEDS: dict[Deed, int] = {
    Client._generate: 20,
    Client._interrupt: 4,
    Client._look_around: 2,
    Client._break_the_rules: 1,
    Client._stall: 1,
    Client._unload_and_load: 1,
}
