"""Whether a process that works is well: it says something now and then, and what it says can be
read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

_SILENCES = 3
_UNREADABLE_LINES = 10
_UNREADABLE_SECONDS = 60.0


class Vitals:
    """Of one process. Whoever reads from it sets `spoke`, and tells of each line that is none."""

    def __init__(
        self,
        patience: float,
        is_working: Callable[[], bool],
        ping: Callable[[], None],
        condemn: Callable[[str], None],
    ) -> None:
        self.spoke = False
        self.watching: asyncio.Task[None] | None = None
        self._patience = patience
        self._is_working = is_working
        self._ping = ping
        self._condemn = condemn
        self._unreadable: deque[float] = deque(maxlen=_UNREADABLE_LINES)

    def watch(self) -> None:
        """From now until it has nothing more to do."""
        if self.watching is None or self.watching.done():
            self.watching = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        """While it works, ask it now and then. Busy answers, hung does not."""
        silences = 0
        while self._is_working():
            self.spoke = False
            await asyncio.sleep(self._patience)
            silences = 0 if self.spoke else silences + 1
            if silences == _SILENCES:
                self._condemn(f"it has said nothing for {_SILENCES * self._patience:g} s")
            elif silences:
                self._ping()

    def note_unreadable(self) -> None:
        """One may happen; so many in so short a time are no accident."""
        self._unreadable.append(monotonic())
        enough = len(self._unreadable) == _UNREADABLE_LINES
        if enough and self._unreadable[-1] - self._unreadable[0] < _UNREADABLE_SECONDS:
            self._condemn("it writes lines that cannot be read")

    def end(self) -> None:
        if self.watching:
            self.watching.cancel()
