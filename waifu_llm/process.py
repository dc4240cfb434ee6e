"""One provider process: a Backend over pipes.

A request goes out as a line with a number; every line that comes back bears one, and is given to
the Sink that came with it. When the process ends, all that was pending fails at once.

An interrupt is a message. A process that has not obeyed after its grace period is retired: it
takes nothing new, keeps its other streams, and is killed when they end, or after a minute.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from waifu_llm import system, wire
from waifu_llm.backend import Progress, Request, Settings, Sink
from waifu_llm.errors import Overloaded, ProviderCrashed, Unavailable, Unexpected, WaifuError
from waifu_llm.paths import HOST
from waifu_llm.redaction import Redactor
from waifu_llm.specs import ProviderSpec
from waifu_llm.wire import Line, LineReader

READY_SECONDS = 60.0
STOP_STEP_SECONDS = 2.0
RETIRED_SECONDS = 60.0
LAST_LINES_SECONDS = 0.05
UNSENT_LIMIT = 64 * 1024 * 1024
_STDERR_KEPT = 64 * 1024
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


class ProviderProcess(asyncio.SubprocessProtocol):
    """The Backend. Make one with `start`."""

    def __init__(self, spec: ProviderSpec, redactor: Redactor, grace_seconds: float) -> None:
        self.spec = spec
        self._redactor = redactor
        self._grace_seconds = grace_seconds
        self._loop = asyncio.get_running_loop()
        self._reader = LineReader()
        self._stderr = b""
        self._calls: dict[int, asyncio.Future[wire.Done]] = {}
        self._progress: dict[int, Progress] = {}
        self._generations: dict[int, Generating] = {}
        self._next = 0
        self._retired = False
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()

    @classmethod
    async def start(
        cls, python: Path, spec: ProviderSpec, cwd: Path, redactor: Redactor, grace_seconds: float
    ) -> ProviderProcess:
        """Run the host in the provider's environment and wait for its first line.

        Raises:
            ProviderCrashed: When it ends before, with what it said.
            Unavailable: When it says nothing in time.
        """
        loop = asyncio.get_running_loop()
        _, process = await loop.subprocess_exec(
            lambda: cls(spec, redactor, grace_seconds),
            *(str(python), "-I", "-u", "-X", "utf8", str(HOST), str(spec.folder), spec.entry),
            cwd=cwd,
            env=_child_environ(os.environ),
            **system.spawn_options(),
        )
        try:
            async with asyncio.timeout(READY_SECONDS):
                await asyncio.shield(process._ready)
        except TimeoutError:
            await process.close()
            seconds = READY_SECONDS
            raise Unavailable(f"`{spec.name}` did not start within {seconds:g} s.") from None
        except BaseException:
            await process.close()
            raise
        return process

    # What the engine calls

    @property
    def alive(self) -> bool:
        return not self._ended.done() and not self._retired

    @property
    def pid(self) -> int:
        return self._transport.get_pid()

    async def load(self, settings: Settings, model_id: str | None, progress: Progress) -> list[str]:
        done = await self._call("load", settings, model_id, progress)
        return done.models

    async def models(self) -> list[str]:
        return (await self._call("models")).models

    def generate(self, request: Request, sink: Sink) -> Generating:
        running = Generating(self, self._number(), sink)
        if error := self._refusal():
            sink.failed(error)
            running.finish()
        else:
            self._generations[running.number] = running
            self._write(wire.encode_generate(running.number, request))
        return running

    def _refusal(self) -> WaifuError | None:
        if self._ended.done():
            return self._crash()
        if self._stdin.get_write_buffer_size() > UNSENT_LIMIT:
            return Overloaded(f"`{self.spec.name}` has yet to read what it was sent. Try later.")
        return None

    def interrupt(self, running: Generating) -> None:
        self._write(wire.encode_operation(running.number, "interrupt"))
        self._loop.call_later(self._grace_seconds, self._see_that_it_obeyed, running)

    async def close(self) -> None:
        """Stop it, a step at a time: close its stdin, terminate its group, kill its group."""
        self._retired = True
        self._fail_generations()
        self._stdin.close()
        if not await self._ends_within(STOP_STEP_SECONDS):
            system.terminate_tree(self.pid)
        if not await self._ends_within(STOP_STEP_SECONDS):
            log.warning("%s does not end; killing it", self.spec.name)
            system.kill_tree(self.pid)
            await self._ends_within(STOP_STEP_SECONDS)
        self._transport.close()

    def status(self) -> dict[str, Any]:
        return {
            "pid": self.pid,
            "memory_bytes": system.resident_bytes(self.pid),
            "requests": len(self._generations) + len(self._calls),
        }

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self._stdin = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._stderr = (self._stderr + data)[-_STDERR_KEPT:]
            return
        try:
            lines = self._reader.feed(data)
        except wire.LineTooLong as exc:
            log.error("%s wrote %s; killing it", self.spec.name, exc)
            system.kill_tree(self.pid)
            return
        touched: dict[Sink, None] = {}
        for each in lines:
            self._take(each, touched)
        for sink in touched:
            sink.flush()

    def process_exited(self) -> None:
        """Either sign of an end is enough: a grandchild may hold the pipe, or the exit be late."""
        self._loop.call_later(LAST_LINES_SECONDS, self._end)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self._loop.call_later(LAST_LINES_SECONDS, self._end)

    # Lines that came

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
        if sink := running.sink:
            touched[sink] = None
            self._give(line, sink)
        if line.done is not None or line.error is not None:
            self._forget(running)

    def _give(self, line: Line, sink: Sink) -> None:
        if line.chunk is not None:
            sink.chunk(line.chunk)
        elif line.reasoning is not None:
            sink.reasoning(line.reasoning)
        elif line.done is not None:
            sink.done(line.done)
        elif line.error is not None:
            sink.failed(self._clean(line.error.as_error()))

    def _forget(self, running: Generating) -> None:
        del self._generations[running.number]
        running.finish()

    def _take_unreadable(self, data: bytes, exc: Exception) -> None:
        """Whose line it is may still be told; that request fails, and no other."""
        log.error("%s wrote a line that cannot be read: %s", self.spec.name, exc)
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
            progress("load", told.fraction, self._redactor.clean(told.message))
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

    async def _call(
        self,
        op: str,
        settings: Mapping[str, Any] | None = None,
        model_id: str | None = None,
        progress: Progress | None = None,
    ) -> wire.Done:
        if self._ended.done():
            raise self._crash()
        number = self._number()
        self._calls[number] = call = self._loop.create_future()
        if progress:
            self._progress[number] = progress
        try:
            self._write(wire.encode_operation(number, op, settings, model_id))
            done: wire.Done = await call
            return done
        finally:
            self._calls.pop(number, None)
            self._progress.pop(number, None)

    def _number(self) -> int:
        self._next += 1
        return self._next

    def _write(self, data: bytes) -> None:
        if not self._stdin.is_closing():
            self._stdin.write(data)

    # Ends

    def _see_that_it_obeyed(self, running: Generating) -> None:
        if running.over.done() or self._retired:
            return
        log.warning("%s ignores an interrupt; it gets no more requests", self.spec.name)
        self._retired = True
        self._generations.pop(running.number, None)
        running.finish()
        task = self._loop.create_task(self._end_when_idle())
        self._ended.add_done_callback(lambda _: task.cancel())

    async def _end_when_idle(self) -> None:
        others = [running.over for running in self._generations.values() if not running.interrupted]
        if others:
            await asyncio.wait(others, timeout=RETIRED_SECONDS)
        await self.close()

    async def _ends_within(self, seconds: float) -> bool:
        await asyncio.wait([self._ended], timeout=seconds)
        return self._ended.done()

    def _end(self) -> None:
        """The process is gone: whoever waits for it is told now."""
        if self._ended.done():
            return
        self._ended.set_result(None)
        system.kill_tree(self.pid)  # with what it may have left behind
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
        code = self._transport.get_returncode()
        everything = self._redactor.clean(self._stderr.decode("utf-8", "replace"))
        said = everything[-_STDERR_SHOWN:].strip()
        status = f" (exit status {code})" if code is not None else ""
        words = f" It said:\n{said}" if said else ""
        return ProviderCrashed(f"The process of `{self.spec.name}` ended{status}.{words}")

    def _clean(self, error: WaifuError) -> WaifuError:
        cleaned = self._redactor.clean(error.message)
        return type(error)(cleaned, retry_after_ms=error.retry_after_ms)


_PASSED_ON = (
    "HOME", "PATH", "LANG", "TMPDIR", "TZ", "USER", "LOGNAME", "SYSTEMROOT", "SYSTEMDRIVE",
    "WINDIR", "COMSPEC", "PATHEXT", "TEMP", "TMP", "USERPROFILE", "USERNAME", "APPDATA",
    "LOCALAPPDATA", "PROGRAMDATA", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip


def _child_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Only what a process needs to run: a provider sees no key but its own, which `load` brings."""
    return {
        name: value
        for name, value in environ.items()
        if name.upper() in _PASSED_ON or name.startswith("LC_")
    }
