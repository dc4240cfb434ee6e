"""Workers that tests start, and clients of the modules that leave work to them."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from support import LIMIT, Module, Wire, generate
from websockets.asyncio.client import connect

LEASE = 2


class Far:
    """A worker that a test started."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        line = process.stdout.readline()  # type: ignore[union-attr]
        assert line.startswith("working as "), line
        self.id = line.removeprefix("working as ").strip()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait(LIMIT)
        self.process.stdout.close()  # type: ignore[union-attr]


@asynccontextmanager
async def client(module: Module) -> AsyncIterator[Wire]:
    async with connect(module.url, compression=None, max_size=None) as websocket:
        wire = Wire(websocket)
        await wire.ask({"type": "hello", "client": "test"})
        yield wire


async def see(module: Module, holds: Callable[[dict[str, Any]], bool]) -> None:
    """Ask by a connection of its own: on another, answers come between."""
    async with client(module) as wire:
        await wire.status_until(holds)


def slow(**more: Any) -> dict[str, Any]:
    """A generation that would take minutes."""
    params = {"extra": {"delay_ms": 50}, "max_output_length": 10_000}
    return generate(model="count", params=params, provider="echo", **more)
