"""One provider process: a Backend over pipes.

A request goes out as a line with a number; every line that comes back bears one, and is given to
the Sink that came with it. When the process ends, all that was pending fails at once.

An interrupt is a message. A process that has not obeyed in time is retired: it takes nothing new,
keeps its other streams, and is ended after them, or after a minute. One that says nothing while it
works, does not read, or writes what cannot be read, is killed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from waifu_llm import signatures, system, wire
from waifu_llm.backend import Embedded, Progress, Request, Settings, Sink
from waifu_llm.child import Child, Patience
from waifu_llm.errors import Overloaded, ProviderCrashed, Unavailable, Unexpected, WaifuError
from waifu_llm.paths import HOST
from waifu_llm.provider_log import LogFile
from waifu_llm.redaction import Redactor
from waifu_llm.specs import ProviderSpec
from waifu_llm.vitals import Vitals
from waifu_llm.wire import Line, LineReader

UNSENT_LIMIT = 64 * 1024 * 1024
_STDERR_SHOWN = 2_000

log = logging.getLogger("waifu_llm.process")


class Generating:
    """A generation that the process works on: its Running, for the engine."""

    __slots__ = ("_process", "interrupted", "number", "over", "sink")

    def __init__(self, process: ProviderProcess, number: int, sink: Sink) -> None:
        self._process = process
        self.number = number
        self.sink: Sink | None = sink  # None once it has had its end
        self.interrupted = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def interrupt(self) -> None:
        if not self.interrupted and not self.over.done():
            self.interrupted = True
            self._process.interrupt(self)

    def fail(self, error: WaifuError) -> None:
        """Its end for whoever listens; the process may have yet to give it up."""
        if self.sink:
            self.sink.failed(error)
            self.sink.flush()
            self.sink = None

    def finish(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


class ProviderProcess(Child):
    """The Backend. `start` it before anything else, and `close` it whatever became of that."""

    def __init__(
        self, spec: ProviderSpec, log_file: LogFile, redactor: Redactor, patience: Patience
    ) -> None:
        super().__init__(spec.name, log_file, redactor, patience)
        self.spec = spec
        self._redactor = redactor
        self._reader = LineReader()
        self._calls: dict[int, asyncio.Future[wire.Done]] = {}
        self._progress: dict[int, Callable[[float, str], None]] = {}
        self._generations: dict[int, Generating] = {}
        self._next = 0
        self._vitals = Vitals(patience.speak, self._is_working, self._ping, self.condemn)
        self._retired = False
        self._ready: asyncio.Future[None] = self._loop.create_future()

    async def start(self, python: Path, cwd: Path) -> None:
        """Run the host in the provider's environment and wait for its first line.

        Raises:
            ProviderCrashed: When it ends before, with what it said.
            Unavailable: When it says nothing in time.
        """
        host = [str(python), "-I", "-u", "-X", "utf8", str(HOST)]
        await self.spawn([*host, *self.spec.host_arguments], cwd)
        try:
            async with asyncio.timeout(self._patience.start):
                await asyncio.shield(self._ready)
        except TimeoutError:
            self.condemn(f"it did not start within {self._patience.start:g} s")
            raise Unavailable(self._crash().message) from None
        except asyncio.CancelledError:  # it is wanted no longer
            self._retired = True
            self.kill()
            raise
        except WaifuError as error:
            self.condemn(f"it cannot be used: {error}")
            raise

    # What the engine calls

    @property
    def alive(self) -> bool:
        return not self._ended.done() and not self._retired

    async def load(self, settings: Settings, model_id: str | None, progress: Progress) -> list[str]:
        more = {"settings": settings, "dialect": self.spec.dialect, "model_id": model_id}
        return (await self._call("load", progress, **more)).models

    async def preload(self, model_id: str) -> None:
        await self._call("preload", model_id=model_id)

    async def models(self) -> list[str]:
        return (await self._call("models")).models

    async def embed(self, model_id: str, texts: list[str]) -> Embedded:
        done = await self._call("embed", model_id=model_id, texts=texts)
        return Embedded(done.embeddings, done.usage)

    async def pull(self, model_id: str, progress: Progress) -> None:
        await self._call("pull", progress, model_id=model_id)

    def generate(self, request: Request, sink: Sink) -> Generating:
        running = Generating(self, self._number(), sink)
        if error := self._refusal():
            running.fail(error)
            running.finish()
        else:
            self._generations[running.number] = running
            self.write(wire.encode_generate(running.number, request))
            self._vitals.watch()
        return running

    def _refusal(self) -> WaifuError | None:
        if self._ended.done():
            return self._crash()
        if self.unsent > UNSENT_LIMIT:
            return Overloaded(f"`{self.spec.name}` has yet to read what it was sent. Try later.")
        return None

    def interrupt(self, running: Generating) -> None:
        self.write(wire.encode_operation(running.number, "interrupt"))
        self._loop.call_later(self._patience.obey, self._see_that_it_obeyed, running)

    async def close(self) -> None:
        """What is still running fails first."""
        self._retired = True
        self._fail_generations()
        await self.stop()

    def status(self) -> dict[str, Any]:
        return {
            "pid": self.pid,
            "memory_bytes": system.resident_bytes(self.pid),
            "requests": len(self._generations) + len(self._calls),
        }

    # Lines that came

    def heard(self, data: bytes) -> None:
        self._vitals.spoke = True
        try:
            lines = self._reader.feed(data)
        except wire.LineTooLong as exc:
            self.condemn(f"it wrote {exc}")
            return
        touched: dict[Sink, None] = {}
        for each in lines:
            self._take(each, touched)
        for sink in touched:
            sink.flush()

    def _take(self, data: bytes, touched: dict[Sink, None]) -> None:
        try:
            line = wire.decode_line(data)
        except wire.UNREADABLE as exc:
            self._take_unreadable(data, exc)
            return
        running = self._generations.get(line.id)
        if running is None:
            self._take_other(line)
            return
        sink = running.sink
        if sink and line.chunk is not None:  # nearly all lines are
            sink.chunk(line.chunk)
        elif sink:
            self._give(line, sink)
        if sink:
            touched[sink] = None
        if line.done is not None or line.error is not None:
            self._forget(running)

    def _give(self, line: Line, sink: Sink) -> None:
        if line.reasoning is not None:
            sink.reasoning(line.reasoning)
        elif line.done is not None:
            sink.done(signatures.marked(line.done, self.spec.name))
        elif line.error is not None:
            sink.failed(self._clean(line.error.as_error()))

    def _forget(self, running: Generating) -> None:
        del self._generations[running.number]
        running.finish()

    def _take_unreadable(self, data: bytes, exc: Exception) -> None:
        """Whose line it is may still be told; that request fails, and no other."""
        log.error("%s wrote a line that cannot be read: %s", self.spec.name, exc)
        self._vitals.note_unreadable()
        try:
            outline = wire.decode_outline(data)
        except wire.UNREADABLE:
            return
        error = Unexpected(f"`{self.spec.name}` answered in a way that cannot be read: {exc}.")
        if call := self._calls.get(outline.id):
            if not call.done():
                call.set_exception(error)
        elif running := self._generations.get(outline.id):
            running.fail(error)
            if outline.is_end:
                self._forget(running)
            else:
                running.interrupt()

    def _take_other(self, line: Line) -> None:
        if line.ready is not None:
            self._take_ready(line.ready)
        elif line.progress is not None and (progress := self._progress.get(line.id)):
            told = line.progress
            progress(told.fraction, self._redactor.clean(told.message))
        elif (call := self._calls.get(line.id)) and not call.done():
            if line.error is not None:
                call.set_exception(self._clean(line.error.as_error()))
            elif line.done is not None:
                call.set_result(line.done)

    def _take_ready(self, protocol: int) -> None:
        if self._ready.done():
            return
        if protocol == wire.HOST_PROTOCOL:
            self._ready.set_result(None)
        else:
            self._ready.set_exception(Unavailable(f"`{self.spec.name}` speaks another protocol."))

    # Lines that go

    async def _call(self, op: str, progress: Progress | None = None, **more: Any) -> wire.Done:
        if self._ended.done():
            raise self._crash()
        number = self._number()
        self._calls[number] = call = self._loop.create_future()
        if progress:
            self._progress[number] = partial(progress, op)
        try:
            self.write(wire.encode_operation(number, op, **more))
            self._vitals.watch()
            done: wire.Done = await call
            return done
        except asyncio.CancelledError:  # nobody waits any longer
            self.write(wire.encode_operation(number, "interrupt"))
            raise
        finally:
            self._calls.pop(number, None)
            self._progress.pop(number, None)

    def _number(self) -> int:
        self._next += 1
        return self._next

    # Is it well, and does it obey?

    def _is_working(self) -> bool:
        return bool(self._generations or self._calls) and not self._ended.done()

    def _ping(self) -> None:
        self.write(wire.encode_operation(self._number(), "ping"))

    def _see_that_it_obeyed(self, running: Generating) -> None:
        if running.over.done():
            return
        self._forget(running)
        if self._retired:
            return
        log.warning("%s ignores an interrupt; it gets no more requests", self.spec.name)
        self._retired = True
        task = self._loop.create_task(self._end_when_idle())
        self._ended.add_done_callback(lambda _: task.cancel())

    async def _end_when_idle(self) -> None:
        """Its other streams may end first, if it still hears anything at all."""
        if not await self._answers():
            self.condemn("it ignores an interrupt and answers nothing")
        others = [running.over for running in self._generations.values()]
        if others:
            await asyncio.wait(others, timeout=self._patience.finish)
        await self.close()

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(self._patience.answer):
                await self._call("ping")
        except TimeoutError:
            return False
        return True

    # Ends

    def gone(self) -> None:
        """Whoever waits for it is told now."""
        self._retired = True
        self._fail_everything()
        if self._ended.done():
            self._vitals.end()

    def _fail_everything(self) -> None:
        error = self._crash()
        waiting: list[asyncio.Future[Any]] = [self._ready, *self._calls.values()]
        for call in waiting:
            if not call.done():
                call.set_exception(error)
                call.exception()  # nobody need be waiting
        self._fail_generations()

    def _fail_generations(self) -> None:
        for running in list(self._generations.values()):
            running.fail(self._crash())
            self._forget(running)

    def _crash(self) -> WaifuError:
        return ProviderCrashed(f"The process of `{self.spec.name}` {self.fate(_STDERR_SHOWN)}")

    def _clean(self, error: WaifuError) -> WaifuError:
        cleaned = self._redactor.clean(error.message)
        return type(error)(cleaned, retry_after_ms=error.retry_after_ms)
