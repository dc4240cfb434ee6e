"""What tests talk through: a running module, and a client that speaks raw messages."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection

LIMIT = 30.0
"""Seconds after which a test that waits has failed."""


async def until(holds: Callable[[], object]) -> None:
    """Returns when something holds that will, where nothing tells of it."""
    async with asyncio.timeout(LIMIT):
        while not holds():
            await asyncio.sleep(0.005)


def wait_until(holds: Callable[[], object]) -> None:
    """The same, where no loop runs."""
    end = time.monotonic() + LIMIT
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


class Module:
    """A module in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.output: queue.Queue[str | None] = queue.Queue()
        self.errors: list[str] = []
        self._read(process.stdout, self.output.put)
        self._read(process.stderr, self.errors.append)
        self.url = self._listening()

    @classmethod
    def start(cls, home: Path, flags: tuple[str, ...], environ: dict[str, str]) -> Module:
        command = [sys.executable, "-m", "waifu_llm", "serve", "--port", "0", *flags]
        variables = {**os.environ, "WAIFU_LLM_HOME": str(home), **environ}
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, env=variables, text=True, encoding="utf-8", **pipes)
        return cls(process)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def wait(self) -> int:
        return self.process.wait(LIMIT)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT)
        for reader in self._readers:
            reader.join(LIMIT)
        self.process.stdout.close()
        self.process.stderr.close()

    _readers: list[threading.Thread]

    def _read(self, pipe: Any, put: Any) -> None:
        def run() -> None:
            for line in pipe:
                put(line.rstrip("\n"))
            if pipe is self.process.stdout:
                put(None)

        thread = threading.Thread(target=run, daemon=True)
        self.__dict__.setdefault("_readers", []).append(thread)
        thread.start()

    def _listening(self) -> str:
        while (line := self.output.get(timeout=LIMIT)) is not None:
            if line.startswith("listening on "):
                return line.removeprefix("listening on ")
        raise AssertionError(f"the module did not start: {self.errors}")


class Wire:
    """One connection: sends messages and waits for answers, nothing more."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket

    async def send(self, message: dict[str, Any] | str | bytes) -> None:
        await self.websocket.send(json.dumps(message) if isinstance(message, dict) else message)

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(LIMIT):
            return json.loads(await self.websocket.recv())

    async def until(self, *types: str) -> list[dict[str, Any]]:
        """All messages up to the first of one of these types."""
        messages = [await self.receive()]
        while messages[-1]["type"] not in types:
            messages.append(await self.receive())
        return messages

    async def ask(self, message: dict[str, Any] | str | bytes) -> dict[str, Any]:
        """Send, and return the next message."""
        await self.send(message)
        return await self.receive()

    async def status_until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask for the status until something holds that will."""
        async with asyncio.timeout(LIMIT):
            while not holds(status := await self.ask({"type": "status"})):
                await asyncio.sleep(0)
        return status

    async def load(self, provider: str = "echo", **fields: Any) -> dict[str, Any]:
        """Load as the published client does; returns `load_done`."""
        await self.send(
            {"type": "load", "unique_request_id": "load", "provider": provider, **fields}
        )
        return (await self.until("load_done"))[-1]

    async def final(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a `generate`, and return its final."""
        await self.send(message)
        return (await self.until("generate_done", "generate_stream_done"))[-1]


def generate(
    content: str = "hello there",
    id: str = "g",
    model: str = "echo",
    stream: bool = True,
    **more: Any,
) -> dict[str, Any]:
    """A `generate`; `params` other than the model go in `params`, the rest beside them."""
    params = {"model_id": model, **more.pop("params", {})}
    return {
        "type": "generate",
        "unique_request_id": id,
        "messages": [{"role": "user", "content": content}],
        "params": params,
        "stream": stream,
        **more,
    }


def counting(id: str = "g", to: int = 1000, delay_ms: float = 20, **more: Any) -> dict[str, Any]:
    """A `generate` that goes on until it is stopped."""
    params = {"max_output_length": to, "extra": {"delay_ms": delay_ms}}
    return generate(id=id, model="count", params=params, **more)


def chunks(messages: list[dict[str, Any]], id: str = "g") -> str:
    return "".join(
        message["chunk"]
        for message in messages
        if message["type"] == "generate_stream_chunk" and message["unique_request_id"] == id
    )
