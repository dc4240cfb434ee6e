"""Tasks that somebody remembers: the loop alone would forget one that still runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from waifu_llm.errors import WaifuError

T = TypeVar("T")
_CANCEL_AGAIN_SECONDS = 0.1
log = logging.getLogger("waifu_llm.tasks")


def is_ending() -> bool:
    """Whether it is the current task that is to end, and not what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel them until they have ended. redis-py swallows a cancellation that comes while it
    connects, and a loop that uses it would go on for ever."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN_SECONDS)


class Tasks:
    """Those that run for one owner. What goes wrong in them, and is no answer, is logged."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    def cancel(self) -> None:
        for task in self._running:
            task.cancel()

    async def over(self) -> None:
        """Until those that run now have ended, however they do."""
        if self._running:
            await asyncio.wait(self._running)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (exc := task.exception()) and not isinstance(exc, WaifuError):
            log.error("a fault of the module", exc_info=exc)
