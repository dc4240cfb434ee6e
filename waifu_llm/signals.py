"""Signals that end this process: the first in peace, the second at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

HARD_EXIT = 130
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


class Signals:
    """The module is to stop. Where it was to already, for whatever reason, nothing is waited for:
    `kill` ends what would outlive this process, and it is over."""

    def __init__(self, stopping: asyncio.Event, kill: Callable[[], None]) -> None:
        self._stopping = stopping
        self._kill = kill

    def catch(self) -> None:
        loop = asyncio.get_running_loop()
        for name in _NAMES:
            number = getattr(signal, name, None)
            if number is None or (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):
                continue  # nohup asks to go on when the terminal is gone
            try:
                loop.add_signal_handler(number, self._signalled, number)
            except NotImplementedError:  # Windows
                signal.signal(
                    number, lambda number, _: loop.call_soon_threadsafe(self._signalled, number)
                )

    def _signalled(self, number: int) -> None:
        if self._stopping.is_set():
            self._kill()
            os._exit(HARD_EXIT)
        self._stopping.set()
        if number == signal.SIGINT:
            # Past Python's buffer: what nobody reads would be tried once more at the end, and fail.
            with contextlib.suppress(OSError):
                os.write(2, b"closing; press Ctrl-C again to end at once\n")
