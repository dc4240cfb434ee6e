"""A connection that is written at its client's pace, and cut off where it takes nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from waifu_llm.doors.frames import BEHIND
from waifu_llm.doors.lobby import SEND_BUFFER

_LOOKS = 4


class Paced(asyncio.Protocol):
    """The half of a connection that writes."""

    transport: asyncio.Transport

    def __init__(self, stalled_seconds: float) -> None:
        self.is_behind = False
        """More stands unsent than it is worth to add to."""
        self.on_writable: Callable[[], None] | None = None
        """Called when that is over."""
        self._stalled_seconds = stalled_seconds
        self._written = 0
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=BEHIND)
        # What lies in the kernel's buffer can neither be merged nor taken back.
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch:
            self._watch.cancel()

    def abort(self) -> None:
        self.transport.abort()

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():  # else nobody is there to read it
            self._written += len(data)
            self.transport.write(data)

    def pause_writing(self) -> None:
        self.is_behind = True
        self.watch()

    def resume_writing(self) -> None:
        self.is_behind = False
        if self._watch and not self.transport.is_closing():  # then it is watched to the end
            self._watch.cancel()
        if self.on_writable:
            self.on_writable()

    @property
    def _taken(self) -> int:
        """A figure that grows while the client reads."""
        return self._written - self.transport.get_write_buffer_size()

    def watch(self) -> None:
        """Whether anything is taken of what is unsent."""
        if self._watch:
            self._watch.cancel()
        self._look(self._taken, _LOOKS)

    def _look(self, taken: int, patience: int) -> None:
        """Slowly is well, as long as it is something."""
        now = self._taken
        patience = _LOOKS if now > taken else patience - 1
        if patience < 0:
            self.abort()
            return
        loop = asyncio.get_running_loop()
        seconds = self._stalled_seconds / _LOOKS
        self._watch = loop.call_later(seconds, self._look, now, patience)
