"""What tests of provider processes share: who listens, and what proves that one is dead."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

from support import LIMIT

from waifu_llm.backend import Request, Result
from waifu_llm.conversation import Message, Params
from waifu_llm.errors import WaifuError
from waifu_llm.process import ProviderProcess

ROOT = Path(__file__).parents[2]
FAKES = ROOT / "tests" / "fake_providers"
ECHO = ROOT / "providers" / "echo"
KEY = "sk-canary-0123456789"
MIB = 1024 * 1024


class Sink:
    """Remembers all that it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self._told = asyncio.Event()

    def chunk(self, text: str) -> None:
        self._note("chunk", text)

    def reasoning(self, text: str) -> None:
        self._note("reasoning", text)

    def done(self, result: Result) -> None:
        self._note("done", result)

    def failed(self, error: WaifuError) -> None:
        self._note("failed", error)

    def flush(self) -> None:
        self._note("flush", None)

    @property
    def text(self) -> str:
        return "".join(value for name, value in self.calls if name == "chunk")

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    async def until(self, *names: str) -> Any:
        """What the first call of one of these names brought."""
        async with asyncio.timeout(LIMIT):
            while not (found := [value for name, value in self.calls if name in names]):
                self._told.clear()
                await self._told.wait()
        return found[0]

    async def end(self) -> Result:
        """How it ended; raises what it failed with."""
        ended = await self.until("done", "failed")
        if isinstance(ended, WaifuError):
            raise ended
        return ended

    def _note(self, name: str, value: Any) -> None:
        self.calls.append((name, value))
        self._told.set()


class Lifelines:
    """A socket that processes hold on to, each saying a word first: its end proves theirs."""

    def __init__(self) -> None:
        self._held: dict[str, asyncio.Future[asyncio.StreamReader]] = {}
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0

    def holder(self, word: str) -> str:
        """The code of a process that holds on until we let go."""
        return HOLD + f"hold({self.port}, {word!r}).recv(1)"

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        word = (await reader.readline()).decode().strip()
        self._line(word).set_result(reader)

    async def held(self, word: str) -> asyncio.StreamReader:
        async with asyncio.timeout(LIMIT):
            return await asyncio.shield(self._line(word))

    async def let_go(self, word: str) -> None:
        """Returns when the process of this word is dead."""
        reader = await self.held(word)
        async with asyncio.timeout(LIMIT):
            with suppress(ConnectionResetError):
                assert await reader.read() == b""

    def cut(self) -> None:
        for writer in self._writers:
            writer.close()

    def _line(self, word: str) -> asyncio.Future[asyncio.StreamReader]:
        return self._held.setdefault(word, asyncio.get_running_loop().create_future())


HOLD = """
import socket
def hold(port, word):
    line = socket.create_connection(("127.0.0.1", port))
    line.sendall(word.encode() + b"\\n")
    return line
"""


def ask(content: str = "", model: str = "echo", **params: object) -> Request:
    return Request([Message("user", content)], Params(model_id=model, **params), True)


def ignore(*_: object) -> None:
    pass


async def gone(process: ProviderProcess) -> None:
    async with asyncio.timeout(LIMIT):
        await asyncio.shield(process._ended)


async def over(running: object) -> None:
    async with asyncio.timeout(LIMIT):
        await asyncio.shield(running.over)
