"""Small changes of many, written together: a transaction costs more than what is in it.

What comes while one is under way goes into the next. Who comes alone waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from waifu_llm.errors import Unavailable
from waifu_llm.tasks import Tasks

T = TypeVar("T")
_Put = tuple[T, asyncio.Future[None]]
_MOST = 200


class Gathering(Generic[T]):
    """Hands over changes in the order that they came in, some at a time."""

    def __init__(self, write: Callable[[Sequence[T]], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: list[_Put[T]] = []
        self._tasks = Tasks()
        self._writing: asyncio.Task[None] | None = None

    async def put(self, change: T) -> None:
        """It is written when this returns, and will be when nobody waits for this any more.

        Raises:
            WaifuError: When it cannot be.
        """
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, written))
        if self._writing is None or self._writing.done():
            self._writing = self._tasks.start(self._write_all())
        await written

    async def _write_all(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            await self._write_some(some)

    async def _write_some(self, some: list[_Put[T]]) -> None:
        """One that cannot be written keeps no other from it. But what cannot be reached cannot be
        for all of them, and they have waited for that together."""
        try:
            await self._write([change for change, _ in some])
        except Unavailable as error:
            all_that_wait, self._waiting = [*some, *self._waiting], []
            for _, written in all_that_wait:
                _tell(written, error)
        except Exception as error:
            if len(some) > 1:
                for each in some:
                    await self._write_some([each])
            else:
                _tell(some[0][1], error)
        else:
            for _, written in some:
                _tell(written)


def _tell(written: asyncio.Future[None], error: Exception | None = None) -> None:
    if written.done():  # its owner has left
        return
    if error:
        written.set_exception(error)
    else:
        written.set_result(None)
