"""One installation, and all who wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from waifu_llm.backend import Progress


class Making:
    """It ends when the last who waits for it leaves."""

    def __init__(self, work: Callable[[Progress], Awaitable[None]]) -> None:
        self._listeners: dict[object, Progress] = {}
        self._task = asyncio.ensure_future(work(self._tell))

    @property
    def is_over(self) -> bool:
        return self._task.done() or self._task.cancelling() > 0

    async def wait(self, progress: Progress) -> None:
        listener = object()
        self._listeners[listener] = progress
        try:
            await asyncio.shield(self._task)
        finally:
            del self._listeners[listener]
            if not self._listeners and not self._task.done():
                self._task.cancel()
                await asyncio.wait([self._task])  # nothing half-made is left when we return

    def _tell(self, phase: str, fraction: float, message: str) -> None:
        for listener in list(self._listeners.values()):
            listener(phase, fraction, message)
