"""Places on this machine: the most urgent who waits has the next, and of those the first."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from waifu_llm.backend import Urgency
from waifu_llm.workers.names import URGENCIES


class Places:
    """So many."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: dict[Urgency, deque[asyncio.Future[None]]] = {
            each: deque() for each in URGENCIES
        }

    @asynccontextmanager
    async def place(self, urgency: Urgency) -> AsyncIterator[None]:
        if self._free:
            self._free -= 1
        else:
            await self._wait(urgency)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, urgency: Urgency) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[urgency].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()  # it came too late
            raise

    def _pass_on(self) -> None:
        for urgency in URGENCIES:
            while self._waiting[urgency]:
                turn = self._waiting[urgency].popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._free += 1
