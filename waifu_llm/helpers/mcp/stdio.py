"""An MCP server that is a process of ours: a message a line, over its pipes.

What is run stands in the configuration and nowhere else. It ends when the module does, however that
does; it gets the variables that every process gets, and those that its table names.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from waifu_llm.child import Child, Patience
from waifu_llm.errors import WaifuError
from waifu_llm.helpers.faults import Failed, NotReached
from waifu_llm.helpers.mcp import messages
from waifu_llm.helpers.mcp.messages import Message
from waifu_llm.provider_log import LogFile
from waifu_llm.redaction import Redactor
from waifu_llm.wire import LineReader, LineTooLong

MOST_LINE = 4 * 1024 * 1024
MOST_UNSENT = 4 * 1024 * 1024
_SHOWN = 500


class Program:
    """What is run, and with what."""

    def __init__(
        self,
        name: str,
        command: list[str],
        variables: Mapping[str, str],
        cwd: Path,
        log_file: LogFile,
        redactor: Redactor,
    ) -> None:
        self.name = name
        self.command = command
        self.variables = variables
        self.cwd = cwd
        self.log_file = log_file
        self.redactor = redactor

    def found(self) -> list[str]:
        """
        Raises:
            NotReached: When there is no such program.
        """
        path = shutil.which(self.command[0])
        if path is None:
            raise NotReached(f"There is no program `{self.command[0]}` on this machine.")
        return [os.path.abspath(path), *self.command[1:]]  # it is run in a folder of ours


class OverPipes(Child):
    """The transport."""

    def __init__(self, program: Program) -> None:
        super().__init__(program.name, program.log_file, program.redactor, Patience())
        self._program = program
        self._reader = LineReader(MOST_LINE)
        self._waiting: dict[object, asyncio.Future[Message]] = {}
        self._hear: Callable[[Message], Message | None] = lambda _: None

    async def open(self, hear: Callable[[Message], Message | None]) -> None:
        self._hear = hear
        program = self._program
        try:
            program.cwd.mkdir(parents=True, exist_ok=True)
            await self.spawn(program.found(), program.cwd, ours=False, more=program.variables)
        except OSError as exc:
            raise NotReached(f"It cannot be started: {exc}.") from None

    def agreed(self, protocol: str) -> None:
        """A line has no place to say it."""

    @property
    def alive(self) -> bool:
        return self._spawned and not self.ended

    async def ask(self, asked: Message) -> Message:
        if not self.alive:
            raise NotReached(f"The process {self.fate(_SHOWN)}")
        if self.unsent > MOST_UNSENT:
            raise NotReached("It has yet to read what it was sent.")
        answer: asyncio.Future[Message] = self._loop.create_future()
        self._waiting[asked["id"]] = answer
        try:
            await self.tell(asked)
            return await answer
        finally:
            del self._waiting[asked["id"]]

    async def tell(self, said: Message) -> None:
        self.write(messages.encode(said) + b"\n")

    async def close(self) -> None:
        await self.stop()

    # As a Child

    def heard(self, data: bytes) -> None:
        try:
            lines = self._reader.feed(data)
        except LineTooLong as exc:
            self.condemn(f"it wrote {exc}")
            return
        for line in lines:
            self._take(line)

    def _take(self, line: bytes) -> None:
        """A line that is no message is a print gone astray, and costs nobody an answer."""
        try:
            said = messages.decode(line)
        except WaifuError:
            return
        answer = None if "method" in said else self._waiting.get(_id_of(said))
        if answer and not answer.done():
            answer.set_result(said)
        elif "method" in said and (reply := self._hear(said)) and self.unsent < MOST_UNSENT:
            self.write(messages.encode(reply) + b"\n")

    def gone(self) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(Failed(f"The process {self.fate(_SHOWN)}"))


def _id_of(said: Message) -> object:
    id = said.get("id")
    return id if isinstance(id, int) else None
