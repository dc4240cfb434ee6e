"""A model of clients and their requests against the real module, driven into odd corners.

Hypothesis draws what happens next: connections come and go, providers are killed, requests start,
stop and overlap. After each step every promise of `soak.history` must hold, and at the end every
request must have had its one final.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
from collections.abc import Set
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from support import LIMIT, Module
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from soak.history import FINALS, History, Violation

STEPS, EXAMPLES = 40, 30
MOST_PROCESSES = 1
FLAGS = ("--interrupt-grace-seconds", "0.2", "--max-waiting-per-provider", "8")
SLOW_MS = 3_600_000

_ids = (f"m{number}" for number in itertools.count())
if os.name != "posix":
    pytest.skip("kills processes by signals", allow_module_level=True)


class Connection:
    """A client that reads all the time, and checks each message as it comes."""

    def __init__(self, websocket: Any) -> None:
        self.websocket = websocket
        self.history = History()
        self.answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.heard = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for frame in self.websocket:
            message = json.loads(frame)
            self.history.heard(message)
            if message["type"] not in (*FINALS, "generate_ack", "generate_stream_chunk"):
                self.answers.put_nowait(message)
            self.heard.set()

    async def send(self, type: str, **fields: Any) -> None:
        await self.websocket.send(json.dumps({"type": type, **fields}))

    async def ask(self, type: str, answer: str, **fields: Any) -> dict[str, Any]:
        await self.send(type, unique_request_id=type, **fields)
        async with asyncio.timeout(LIMIT):
            while (message := await self.answers.get())["type"] != answer:
                pass
        return message

    async def until_ended(self, ids: Set[str]) -> None:
        ids = frozenset(ids)
        async with asyncio.timeout(LIMIT):
            while ids & self.history.live.keys() and not self._reading.done():
                self.heard.clear()
                await asyncio.wait([self._reading, asyncio.create_task(self.heard.wait())], **FIRST)
        self.check()

    def check(self) -> None:
        """Its reading ends before it leaves only when a promise was broken."""
        if self._reading.done():
            self._reading.result()
            raise Violation("the module hung up")

    async def leave(self, politely: bool) -> None:
        if politely:
            await self.websocket.close()
        else:
            self.websocket.transport.abort()
        with suppress(ConnectionClosed):
            await self._reading


FIRST = {"return_when": asyncio.FIRST_COMPLETED}


WHO = st.integers(0, 2)
REQUESTS = st.tuples(
    st.integers(1, 40),  # words
    st.booleans(),  # streamed
    st.sampled_from([1, 0, 5, SLOW_MS]),  # milliseconds between the words
    st.sampled_from([None, "stage"]),  # session
    st.sampled_from([{}, {}, {"error": "RATE_LIMITED", "fail_after": 1}]),
    st.sampled_from([None, None, 20]),  # timeout_ms
)


class Machine(RuleBasedStateMachine):
    """Three clients, and what may happen to them."""

    home: Path

    @initialize()
    def begin(self) -> None:
        """Each has a module of its own: one that was killed too often would be given up for all."""
        self.loop = asyncio.new_event_loop()
        self.endless: set[str] = set()
        self.module = Module.start(self.home, FLAGS, {})
        self.clients = [self.run(self._connect()) for _ in range(3)]

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    async def _connect(self) -> Connection:
        connection = Connection(await connect(self.module.url, compression=None, max_size=None))
        await connection.send("load", unique_request_id="load", provider="echo")
        return connection

    @rule(who=WHO, asked=st.lists(REQUESTS, min_size=1, max_size=6))
    def generate(self, who, asked) -> None:
        for words, stream, pace, session, more, timeout_ms in asked:
            id = next(_ids)
            text = " ".join(f"{id}:{number}" for number in range(words))
            self.clients[who].history.asked(id, text, stream)
            self.endless |= {id} if pace == SLOW_MS else set()
            extra = {"delay_ms": pace, **more}
            asked = {
                "messages": [{"role": "user", "content": text}],
                "params": {"model_id": "echo", "extra": extra, "timeout_ms": timeout_ms},
                "stream": stream,
                "session": session,
            }
            self.run(self.clients[who].send("generate", unique_request_id=id, **asked))

    @rule(who=WHO, what=st.sampled_from(["all", "one", "session"]))
    def interrupt(self, who, what) -> None:
        live = list(self.clients[who].history.live)
        chosen = {"one": {"target": live[0] if live else "none"}, "session": {"session": "stage"}}
        self.run(self.clients[who].ask("interrupt", "interrupt_ack", **chosen.get(what, {})))

    @rule(who=WHO)
    def reload(self, who) -> None:
        self.run(self.clients[who].send("unload", unique_request_id="unload"))
        self.run(self.clients[who].send("load", unique_request_id="load", provider="echo"))

    @rule(who=WHO, politely=st.booleans())
    def leave_and_come_back(self, who, politely) -> None:
        self.run(self.clients[who].leave(politely))
        self.clients[who] = self.run(self._connect())

    @rule(who=WHO, number=st.sampled_from([signal.SIGKILL, signal.SIGSTOP]))
    def hurt_the_provider(self, who, number) -> None:
        self.run(self._hurt(who, number))

    async def _hurt(self, who: int, number: int) -> None:
        for load in (await self.clients[who].ask("status", "status_done"))["loads"]:
            if load.get("pid"):
                with suppress(ProcessLookupError):  # hurt enough already
                    os.kill(load["pid"], number)

    @rule(seconds=st.sampled_from([0.001, 0.02, 0.05]))
    def listen(self, seconds) -> None:
        self.run(asyncio.sleep(seconds))

    @rule(who=WHO)
    def send_nonsense(self, who) -> None:
        self.run(self.clients[who].websocket.send("nonsense"))

    @invariant()
    def nothing_is_broken(self) -> None:
        for client in getattr(self, "clients", ()):
            client.check()

    def teardown(self) -> None:
        if not hasattr(self, "module"):
            return
        try:
            self.run(self._end())
            assert self.module.wait() == 0
        finally:
            self.module.kill()
            self.loop.close()

    async def _end(self) -> None:
        """What is not endless ends by itself, the rest when it is told to."""
        await self._hurt(0, signal.SIGCONT)
        for client in self.clients:
            await client.until_ended(client.history.live.keys() - self.endless)
        for client in self.clients:
            await client.ask("interrupt", "interrupt_ack")
            await client.until_ended(client.history.live.keys())
        async with asyncio.timeout(LIMIT):
            await self._check_what_is_left()
        for client in self.clients:
            await client.leave(politely=True)

    async def _check_what_is_left(self) -> None:
        watcher = Connection(await connect(self.module.url))
        while (status := await watcher.ask("status", "status_done"))["generations"]:
            await asyncio.sleep(0.01)
        assert status["waiting"] == 0
        assert len(status["loads"]) <= MOST_PROCESSES
        await watcher.ask("close", "close_ack")
        await watcher.leave(politely=True)


def test_whatever_happens_every_request_has_its_one_final(home) -> None:
    Machine.home = home
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            phases=[
                Phase.explicit,
                Phase.reuse,
                Phase.generate,
            ],  # a hang would be shrunk for hours
            suppress_health_check=checks,
            derandomize=True,  # the soak is for what nobody drew before
        ),
    )
