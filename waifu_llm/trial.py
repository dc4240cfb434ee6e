"""A provider on trial: its real processes, watched closer than the module watches them.

`conformance.py` has the checks; here is what they ask with, and what they see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import TypeVar

from msgspec import Struct

from waifu_llm import wire
from waifu_llm.backend import Request, Result, Settings
from waifu_llm.child import LATE_EXIT_SECONDS, Patience
from waifu_llm.conversation import Message, Params, ToolCall
from waifu_llm.errors import WaifuError
from waifu_llm.generation import Final
from waifu_llm.process import Generating, ProviderProcess
from waifu_llm.provider_log import LogFile
from waifu_llm.redaction import Redactor
from waifu_llm.specs import ProviderSpec
from waifu_llm.wire import LineReader, LineTooLong

SHORT = "Say hello in one short sentence."
AGAIN = "Are you still there? Answer in one word."
LONG = "Count from 1 to 500 in words, one number a line, and say nothing else."
_GLANCE_SECONDS = 0.01

T = TypeVar("T")


class Failed(Exception):
    """What a provider does wrong, in a sentence, and what its author can do."""


class Skipped(Exception):
    """Why a check has nothing to check."""


class Subject(Struct, frozen=True, kw_only=True):
    """Who is on trial, and under which conditions."""

    spec: ProviderSpec
    install: Callable[[], Awaitable[Path]]
    """Returns the interpreter to run it with."""
    cwd: Path
    log_file: LogFile
    settings: Settings = {}
    model_id: str | None = None
    """The model to ask; the first of its list where none is named."""
    embed_model_id: str | None = None
    seconds: float = 60.0
    """For a load, and for an answer."""
    patience: Patience = Patience()


class Answer:
    """Takes a generation, from a process or from the core's own clock, and can be waited for."""

    running: Generating

    def __init__(self) -> None:
        self.text = ""
        self.tool_calls: list[ToolCall] = []
        self.error: WaifuError | None = None
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    def chunk(self, text: str) -> None:
        self.text += text
        self.begun.set()

    def reasoning(self, text: str) -> None:
        self.begun.set()

    def done(self, result: Result) -> None:
        self.tool_calls = result.tool_calls or []
        self._end(None)

    def failed(self, error: WaifuError) -> None:
        self._end(error)

    def final(self, final: Final) -> None:
        self._end(final.error)

    def still_waits(self) -> None: ...

    def begins(self) -> None: ...

    def flush(self) -> None:
        pass

    def _end(self, error: WaifuError | None) -> None:
        self.error = error
        self.begun.set()
        self.ended.set()


class Witnessed(ProviderProcess):
    """A provider process that is asked for more, and whose every line is looked at."""

    def __init__(self, subject: Subject, redactor: Redactor, strange: list[bytes]) -> None:
        super().__init__(subject.spec, subject.log_file, redactor, subject.patience)
        self._lines = LineReader()
        self._strange = strange
        self._left_something = False

    def heard(self, data: bytes) -> None:
        try:
            lines = self._lines.feed(data)
        except LineTooLong:
            lines = [data]
        self._strange += [line for line in lines if not _is_ours(line)]
        super().heard(data)

    def ask(self, request: Request) -> Answer:
        answer = Answer()
        answer.running = self.generate(request, answer)
        return answer

    async def ping(self) -> None:
        """Answered once all that was sent before has begun."""
        await self._call("ping")

    async def unload(self) -> None:
        await self._call("unload")

    async def leave(self) -> None:
        """Close its stdin, which is all that it takes to end a provider.

        Raises:
            Failed: When it does not end as it should.
        """
        self._stdin.close()
        if not await self._exits_within(self._patience.step):
            raise Failed(
                f"It did not end within {self._patience.step:g} s after its stdin closed. Let "
                "`unload` be quick, and leave no thread behind that is not a daemon."
            )
        if status := self._transport.get_returncode():
            raise Failed(f"It ended with exit status {status}, and not with 0.")
        if self._left_something:
            raise Failed("It left a process behind. End in `unload` what it has started.")

    def process_exited(self) -> None:
        """What it leaves would be killed now, and is looked at before."""
        self._loop.create_task(self._look_what_it_left())

    async def _look_what_it_left(self) -> None:
        """Some helpers end a moment later by themselves, as they should."""
        until = monotonic() + LATE_EXIT_SECONDS / 2
        while (left := self._tree.inhabited()) and monotonic() < until:
            await asyncio.sleep(_GLANCE_SECONDS)
        self._left_something = left
        super().process_exited()


def _is_ours(data: bytes) -> bool:
    """Whether it is a line as the host writes them."""
    try:
        line = wire.decode_line(data)
    except wire.UNREADABLE:
        return False
    return line.ready is not None or line.id > 0


class Trial:
    """All that is asked of one provider. A process that is spent is replaced by a fresh one."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.models: list[str] = []
        self.strange: list[bytes] = []
        self.redactor = Redactor(subject.spec.secrets_of(subject.settings))
        self._python: Path | None = None
        self._process: Witnessed | None = None
        self._loaded = False

    # Its process

    async def install(self) -> None:
        self._python = await self.subject.install()

    async def started(self) -> Witnessed:
        if self._process is None or not self._process.alive:
            await self.end()
            if self._python is None:
                await self.install()
            assert self._python is not None
            self._process = Witnessed(self.subject, self.redactor, self.strange)
            await self._process.start(self._python, self.subject.cwd)
        return self._process

    async def loaded(self) -> Witnessed:
        process = await self.started()
        if not self._loaded:
            load = process.load(self.subject.settings, self.subject.model_id, _ignore)
            self.models = await self.within(load, "It did not load")
            self._loaded = True
        return process

    async def end(self) -> None:
        process, self._process, self._loaded = self._process, None, False
        if process:
            await process.close()

    # What it is asked

    async def answer(self, content: str, *, stream: bool = True) -> None:
        await self.answer_to(self.request(content, stream=stream))

    async def answer_to(self, request: Request) -> Answer:
        """It must answer.

        Raises:
            Failed, WaifuError: When it does not.
        """
        answer = (await self.loaded()).ask(request)
        await self.within(answer.ended.wait(), "It did not come to the end of an answer")
        if answer.error:
            raise answer.error
        if not answer.text.strip() and not answer.tool_calls:
            raise Failed("It answered without a word. Yield text from `generate`.")
        return answer

    def request(self, content: str, *, stream: bool = True, model_id: str | None = None) -> Request:
        params = Params(model_id=model_id or self.model_id)
        return Request([Message("user", content)], params, stream)

    @property
    def model_id(self) -> str:
        return self.subject.model_id or self.models[0]

    async def within(self, awaited: Awaitable[T], otherwise: str) -> T:
        """
        Raises:
            Failed: When it takes too long.
        """
        try:
            async with asyncio.timeout(self.subject.seconds):
                return await awaited
        except TimeoutError:
            raise Failed(f"{otherwise} within {self.subject.seconds:g} s.") from None


def _ignore(*_: object) -> None:
    pass
