"""Jobs by the thousand, and listeners that come and go: each hears each of its jobs whole, once."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket

from soak.family import start_core
from soak.history import Violation
from soak.meter import Meter

LISTENERS = 50
AT_ONCE = 5
"""How many jobs of one listener wait or run at a time."""
KEPT_SECONDS = 2
ALLOWED_MB = 3.0
"""How much the second half may add: what is kept for a while comes and goes."""
INTERVAL_SECONDS = 0.1
AS_IT_COMES: dict[str, Any] = {"compression": None, "max_size": None, "max_queue": None}
_WORDS = 20


class Heard:
    """What one listener heard of one job since it last came."""

    def __init__(self, expected: str) -> None:
        self._expected = expected
        self._text = ""
        self._began = False
        self.over = False

    def anew(self) -> None:
        """Its listener left, and begins from the first word."""
        self._text, self._began = "", False

    def take(self, message: dict[str, Any]) -> None:
        """
        Raises:
            Violation: When this may not come here, or not say that.
        """
        kind = message["type"]
        if self.over or kind not in ("pending", "running", "done"):
            raise Violation(f"after {self._text!r} came {message}")
        if kind == "pending" and self._began:
            raise Violation(f"it ran, and waits again: {message}")
        if kind == "running":
            self._began = True
            self._text += message["message"]
        if not self._expected.startswith(self._text):
            raise Violation(f"{self._text!r} was heard where {self._expected!r} was due")
        if kind == "done":
            self.over = True
            if self._text != self._expected:
                raise Violation(f"only {self._text!r} of {self._expected!r} was heard")


class Listener:
    """Adds jobs, listens to them and to some of another's, leaves, and comes back."""

    def __init__(self, url: str, number: int, jobs: int, draw: random.Random) -> None:
        self._url = url
        self._number = number
        self._left = jobs
        self._draw = draw
        self._live: dict[str, Heard] = {}
        self._asked: dict[str, str] = {}
        self.shared: list[tuple[str, str]] = []
        """Jobs of the one before, to be listened to as well."""
        self.next: Listener
        self.told = Counter[str]()

    @property
    def is_done(self) -> bool:
        return not (self._left or self._live or self._asked or self.shared)

    async def live(self) -> None:
        while not self.is_done:
            async with open_websocket(self._url, **AS_IT_COMES) as websocket:
                for id, heard in self._live.items():
                    heard.anew()
                    await _send(websocket, "listen", job_id=id)
                await self._stay(websocket)
                if self._draw.random() < 0.5:
                    websocket.transport.abort()
            self.told["visits"] += 1

    async def _stay(self, websocket: ClientConnection) -> None:
        """Until all is done, or it feels like leaving."""
        messages = self._draw.randint(200, 4000)
        while messages and not self.is_done:
            await self._ask(websocket)
            if self._live or self._asked:
                self._hear(json.loads(await websocket.recv()))
                messages -= 1
            else:
                await asyncio.sleep(0.01)  # until the one before shares a job
            if not messages and self._asked:
                messages = 1  # what was not accepted yet would be unknown to everybody

    async def _ask(self, websocket: ClientConnection) -> None:
        while self._left and len(self._live) + len(self._asked) < AT_ONCE:
            self._left -= 1
            id = f"{self._number}-{self._left}"
            self._asked[id] = " ".join(f"{id}:{word}" for word in range(_WORDS))
            await _send(websocket, "add", id=id, query=self._asked[id], assistant=ECHO)
        while self.shared:
            job_id, expected = self.shared.pop()
            self._live[job_id] = Heard(expected)
            await _send(websocket, "listen", job_id=job_id)

    def _hear(self, message: dict[str, Any]) -> None:
        self.told[message["type"]] += 1
        if message["type"] == "resp_add":
            expected = self._asked.pop(message["id"])
            self._live[message["job_id"]] = Heard(expected)
            if self._draw.random() < 0.2:
                self.next.shared.append((message["job_id"], expected))
            return
        heard = self._live.get(message.get("job_id", ""))
        if heard is None:
            raise Violation(f"nobody waits for {message}")
        heard.take(message)
        if heard.over:
            del self._live[message["job_id"]]


STREAM = {
    "provider": "echo",
    "settings": {"model": "echo"},
    "messages": [{"role": "user", "content": "{query}"}],
}
ECHO = {"streams": [STREAM]}


async def _send(websocket: ClientConnection, type: str, **fields: Any) -> None:
    await websocket.send(json.dumps({"type": type, **fields}))


async def add_and_listen(home: Path, jobs: int, draw: random.Random) -> None:
    """
    Raises:
        Violation: When a job is not heard whole, in order and once, or memory grows.
    """
    kept = ["--jobs-kept-seconds", str(KEPT_SECONDS)]
    core, url = await start_core(home, *kept, "--idle-seconds", "3600", "--log-level", "error")
    try:
        await _crowd(url, jobs // 10 or LISTENERS, draw)  # what is built up there stays
        meter, ending = Meter(core.pid), asyncio.Event()
        watching = asyncio.create_task(meter.watch(ending, INTERVAL_SECONDS))
        told = await _crowd(url, jobs, draw)
        ending.set()
        await watching
    finally:
        core.kill()
        await core.wait()
    print(f"{jobs} jobs, {LISTENERS} listeners: {dict(told.most_common())}")
    _check_growth(meter)


async def _crowd(url: str, jobs: int, draw: random.Random) -> Counter[str]:
    share = max(1, jobs // LISTENERS)
    listeners = [Listener(url, number, share, draw) for number in range(LISTENERS)]
    for number, listener in enumerate(listeners):
        listener.next = listeners[number - 1]
    async with asyncio.TaskGroup() as group:
        for listener in listeners:
            group.create_task(listener.live())
    return sum((listener.told for listener in listeners), Counter[str]())


def _check_growth(meter: Meter) -> None:
    """The lowest of each quarter of the second half: peaks are no leak."""
    memory = [each.memory_mb for each in meter.readings]
    if meter.readings[-1].seconds < 2.5 * KEPT_SECONDS:
        print(f"memory: {memory[-1]:.1f} MB; too short a life to see it grow")
        return
    half = memory[len(memory) // 2 :]
    first, last = min(half[: len(half) // 2]), min(half[len(half) // 2 :])
    print(f"memory in the third and the last quarter: {first:.1f} MB, {last:.1f} MB")
    if last - first > ALLOWED_MB:
        raise Violation(f"memory grows: {first:.1f} MB, then {last:.1f} MB")
