"""A child process with pipes: spawned, listened to, and ended, whatever it does.

It knows nothing of requests: `process.py` adds those. What it writes to stderr goes to its log;
what it writes to stdout is handed on as it comes.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from msgspec import Struct

from waifu_llm import system
from waifu_llm.environments.watched import leashed
from waifu_llm.provider_log import LogFile, ProviderLog
from waifu_llm.redaction import Redactor

LAST_LINES_SECONDS = 0.05
LATE_EXIT_SECONDS = 0.5
_ALL_SIGNS = 3
_NONE: Mapping[str, str] = {}

log = logging.getLogger("waifu_llm.child")


class Patience(Struct, frozen=True):
    """How many seconds a process gets."""

    start: float = 60.0
    """until its first line"""
    obey: float = 5.0
    """from an interrupt to its end"""
    speak: float = 10.0
    """to say something while it works; three times in vain, and it is hung"""
    read: float = 10.0
    """to read what it was sent"""
    answer: float = 2.0
    """to answer a ping, once it is retired"""
    finish: float = 60.0
    """for its other streams, once it is retired"""
    step: float = 2.0
    """for each step of its stop"""


class Child(asyncio.SubprocessProtocol):
    """One process, from its spawning to its burial."""

    def __init__(
        self, name: str, log_file: LogFile, redactor: Redactor, patience: Patience
    ) -> None:
        self._name = name
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._tree = system.Tree()
        self._log = ProviderLog(log_file, redactor)
        self._spawned = False
        self._condemned_because = ""
        self._sent = 0
        self._reading_timer: asyncio.TimerHandle | None = None
        self._signs: set[str] = set()
        self._exited: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()

    # For whoever adds a meaning

    def heard(self, data: bytes) -> None:
        """It wrote this to stdout."""

    def gone(self) -> None:
        """It is over, or as good as: it was condemned, and may take its time to die."""

    # Its life

    async def spawn(
        self, command: list[str], cwd: Path, *, ours: bool = True, more: Mapping[str, str] = _NONE
    ) -> None:
        """A host of `ours` watches by itself whether we are there; others are watched. `more` are
        variables that it gets beside those that every process gets."""
        whole = [*command, *self._tree.host_options()] if ours else leashed(self._tree, command)
        try:
            await self._loop.subprocess_exec(
                lambda: self,
                *whole,
                cwd=cwd,
                env={**environ_for_it(os.environ), **more},
                **self._tree.spawn_options(),
            )
        except BaseException:
            self._ended.set_result(None)
            self._tree.let_go()
            raise

    @property
    def ended(self) -> bool:
        return self._ended.done()

    @property
    def pid(self) -> int:
        return self._transport.get_pid()

    @property
    def unsent(self) -> int:
        return self._stdin.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        if not self._stdin.is_closing():
            self._sent += len(data)
            self._stdin.write(data)

    # Its end

    async def stop(self) -> None:
        """A step at a time: close its stdin, terminate its group, kill its group."""
        if not self._spawned:
            return
        self._stdin.close()
        if not await self._exits_within(self._patience.step):
            self._tree.terminate()
        if not await self._exits_within(self._patience.step):
            log.warning("%s does not end; killing it", self._name)
            self._tree.kill()
            await self._exits_within(self._patience.step)
        self._end()
        if self._exited.done():  # else uvloop would never reap it
            self._transport.close()

    def kill(self) -> None:
        if not self._ended.done():
            self._tree.kill()

    def condemn(self, why: str) -> None:
        """Kill it for a reason."""
        if self._ended.done() or self._condemned_because:
            return
        log.error("%s is killed: %s", self._name, why)
        self._log.note(f"killed: {why}")
        self._condemned_because = why
        self._tree.kill()
        self.gone()

    def fate(self, length: int) -> str:
        """What became of it, with the last that it said."""
        words = self._log.last_words(length)
        said = f" It said:\n{words}" if words else ""
        if self._condemned_because:
            return f"was killed: {self._condemned_because}.{said}"
        code = self._transport.get_returncode()
        return f"ended.{said}" if code is None else f"ended (exit status {code}).{said}"

    async def _exits_within(self, seconds: float) -> bool:
        await asyncio.wait([self._exited], timeout=seconds)
        return self._exited.done()

    def _end(self) -> None:
        if self._ended.done():
            return
        self._ended.set_result(None)
        self._tree.kill()  # what it may have left behind
        self._tree.let_go()
        self._log.end()
        self.resume_writing()
        self.gone()

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self._stdin = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))
        self._log.pid = self.pid
        self._tree.adopt(self.pid)
        self._spawned = True

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._log.feed(data)
        else:
            self.heard(data)

    def process_exited(self) -> None:
        self._exited.set_result(None)
        self._loop.call_later(LAST_LINES_SECONDS, self._transport.close)
        self._take_sign("exit", LAST_LINES_SECONDS)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self._take_sign("stdout", LATE_EXIT_SECONDS)
        elif fd == 2:
            self._signs.add("stderr")

    def _take_sign(self, sign: str, seconds: float) -> None:
        """Not every sign need come: a grandchild may hold the pipes, or the exit be late."""
        self._signs.add(sign)
        self._loop.call_later(0 if len(self._signs) == _ALL_SIGNS else seconds, self._end)

    def pause_writing(self) -> None:
        """The pipe is full."""
        self._see_that_it_reads(taken=-1)

    def resume_writing(self) -> None:
        if self._reading_timer:
            self._reading_timer.cancel()

    def _see_that_it_reads(self, taken: int) -> None:
        """Slowly is well; not at all is not."""
        before, taken = taken, self._sent - self.unsent
        if taken == before:
            self.condemn(f"it has read nothing for {self._patience.read:g} s")
        else:
            seconds = self._patience.read
            self._reading_timer = self._loop.call_later(seconds, self._see_that_it_reads, taken)


_PASSED_ON = (
    "HOME", "PATH", "LANG", "TMPDIR", "TZ", "USER", "LOGNAME", "SYSTEMROOT", "SYSTEMDRIVE",
    "WINDIR", "COMSPEC", "PATHEXT", "TEMP", "TMP", "USERPROFILE", "USERNAME", "APPDATA",
    "LOCALAPPDATA", "PROGRAMDATA", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip


def environ_for_it(environ: Mapping[str, str]) -> dict[str, str]:
    """Only what a process needs to run: a provider sees no key but its own, which `load` brings."""
    return {
        name: value
        for name, value in environ.items()
        if name.upper() in _PASSED_ON or name.startswith("LC_")
    }
