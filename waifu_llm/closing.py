"""Closes what is open, one thing after the other, and all of it within one time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any

Closing = Coroutine[Any, Any, None]
log = logging.getLogger("waifu_llm")


class Deadline:
    """However many things are slow to close, together they keep nobody longer than this."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._tasks: list[asyncio.Task[None]] = []

    async def close(self, *things: Closing, within: float | None = None) -> None:
        """At the same time. What needs longer than `within` goes on while the next are closed."""
        begun = [asyncio.create_task(each) for each in things]
        self._tasks += begun
        await self._wait(begun, within)

    async def over(self) -> None:
        """Until all of them are closed, or the time is over; what is not done then is left so."""
        await self._wait(self._tasks, None)
        for task in self._tasks:
            if not task.done():
                task.cancel()
            elif not task.cancelled() and (exc := task.exception()):
                log.error("a fault of the module", exc_info=exc)

    async def _wait(self, tasks: list[asyncio.Task[None]], within: float | None) -> None:
        left = max(0.0, self._until - time.monotonic())
        if tasks:
            await asyncio.wait(tasks, timeout=left if within is None else min(left, within))
