"""The two ends of the wire, inside the provider's process.

Standard output belongs to the wire alone. `claim` moves it away and points file descriptor 1 at
stderr and 0 at nothing, so that no print, no C library and no grandchild can tear a line.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from typing import Callable

_MOST_GATHERED = 16 * 1024
_CLOSE_TOGETHER_SECONDS = 0.0001
_READ = 256 * 1024
_LAST_WORDS_SECONDS = 2.0


def claim() -> tuple[int, int]:
    """Take stdin and stdout for ourselves. Call it before anything of a provider is imported."""
    source, target = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    for each in (source, target):
        os.set_inheritable(each, False)
    sys.stdout = sys.stderr
    return source, target


class LineWriter:
    """Writes a line at once, but of lines that come close together all that gathered in one turn
    of the loop with one system call."""

    def __init__(self, target: int, loop: asyncio.AbstractEventLoop) -> None:
        self._target = target
        self._loop = loop
        self._lines: list[str] = []
        self._size = 0
        self._scheduled = False
        self._written = 0.0

    def send(self, line: str) -> None:
        self._lines.append(line)
        self._size += len(line)
        if self._scheduled:
            if self._size >= _MOST_GATHERED:
                self.flush()
        elif time.monotonic() - self._written >= _CLOSE_TOGETHER_SECONDS:
            self.flush()
        else:
            self._scheduled = True
            self._loop.call_soon(self._flush_scheduled)

    def flush(self) -> None:
        data = memoryview("".join(self._lines).encode("ascii"))
        self._lines.clear()
        self._size = 0
        while data:
            data = data[os.write(self._target, data) :]
        self._written = time.monotonic()

    def _flush_scheduled(self) -> None:
        self._scheduled = False
        self.flush()


def read_lines(source: int, on_line: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
    """Read in a thread: the one way that works on every system and in every loop."""

    def run() -> None:
        rest = b""
        while data := os.read(source, _READ):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                on_line(line)
        on_end()
        # The core is gone. Whoever is stuck in a library's C code is not asked twice.
        time.sleep(_LAST_WORDS_SECONDS)
        os._exit(0)

    threading.Thread(target=run, name="wire", daemon=True).start()
