"""Who waits for whom: answers in one chat are given strictly one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager


class Queues:
    """One at a time in each chat, in the order that they joined."""

    def __init__(self) -> None:
        self._last: dict[int, asyncio.Future[None]] = {}

    def join(self, chat: int) -> AbstractAsyncContextManager[None]:
        """A place in the queue, to be waited for at once."""
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        before = self._last.get(chat)
        self._last[chat] = mine
        return self._turn(chat, before, mine)

    @asynccontextmanager
    async def _turn(
        self, chat: int, before: asyncio.Future[None] | None, mine: asyncio.Future[None]
    ) -> AsyncIterator[None]:
        try:
            if before:
                await asyncio.wait([before])
            yield
        finally:
            if before and not before.done():  # given up: whoever is next waits in its place
                before.add_done_callback(lambda _: self._end(chat, mine))
            else:
                self._end(chat, mine)

    def _end(self, chat: int, mine: asyncio.Future[None]) -> None:
        mine.set_result(None)
        if self._last[chat] is mine:
            del self._last[chat]
