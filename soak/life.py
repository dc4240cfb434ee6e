"""A real module with a store and a RabbitMQ: killed, and started again at the same address."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path

import aio_pika

from services.rabbitmq import RabbitMQ
from services.server import free_port
from soak.answer_deeds import PROVIDER, TALKER
from soak.family import Core, put_provider, start_core
from soak.history import Violation
from soak.kept import Store
from waifu_llm.client import connect

QUEUES = ("instruction_queue", "instruction_queue.dead")
EMPTY_SECONDS = 30.0
_LOOK_SECONDS = 0.2
_FAULTS = re.compile(
    r"database is locked|deadlock|fault of the module|Traceback|never retrieved", re.I
)
"""What nobody should ever read in its log."""


class Life:
    """One store, one broker, and the modules that come one after the other."""

    def __init__(
        self, home: Path, store: str, rabbitmq: RabbitMQ, *, broker_restarts: bool = False
    ) -> None:
        self.rabbitmq = rabbitmq
        self.broker_restarts = broker_restarts
        self.home = home / "module"
        self.store = Store(store, self.home)
        self._port = free_port()
        self.url = f"ws://127.0.0.1:{self._port}"
        self._flags = ["--port", str(self._port), "--store", store, "--rabbitmq", rabbitmq.url]
        self._core: Core
        put_provider(self.home, TALKER, PROVIDER)

    async def start(self) -> None:
        """
        Raises:
            Violation: When it does not listen.
        """
        self._core, url = await start_core(self.home, *self._flags, "--log-level", "warning")
        if not url:
            raise Violation(f"the module does not start: {self._log()[-2000:]}")

    @property
    def token(self) -> str:
        return (self.home / "token").read_text("ascii").strip()

    async def kill(self) -> None:
        self._core.send_signal(signal.SIGKILL)
        await self._core.wait()

    async def kill_and_start(self) -> None:
        await self.kill()
        await self.start()

    async def end(self) -> None:
        """Whatever happened."""
        if self._core.returncode is None:
            await self.kill()

    async def close(self) -> None:
        """As one does who means it: nothing may be left that waits.

        Raises:
            Violation: When something is, or the log tells of a fault.
        """
        await self._until_nothing_waits()
        async with connect(self.url, token=self.token) as llm:
            await llm.close_module()
        if code := await self._core.wait():
            raise Violation(f"it ended with status {code}: {self._log()[-2000:]}")
        if waiting := await self._waiting():
            raise Violation(f"{waiting} still wait where nobody works any more")
        if faults := [line for line in self._log().splitlines() if _FAULTS.search(line)]:
            raise Violation(f"the log tells of {len(faults)} faults: {faults[:5]}")

    async def _until_nothing_waits(self) -> None:
        """An answer may arrive a little before it is noted that it did."""
        async with asyncio.timeout(EMPTY_SECONDS):
            while await self._waiting():
                await asyncio.sleep(_LOOK_SECONDS)

    async def _waiting(self) -> int:
        """In the queues and in the inbox together."""
        counts = [await self.store.waiting()]
        async with await aio_pika.connect(self.rabbitmq.url) as connection:
            for name in QUEUES:
                channel = await connection.channel()
                queue = await channel.declare_queue(name, passive=True)
                counts.append(queue.declaration_result.message_count or 0)
        return sum(counts)

    def _log(self) -> str:
        return self.home.with_name(f"{self.home.name}.log").read_text("utf-8", "replace")
