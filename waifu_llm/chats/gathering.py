"""Small changes of many, written together: a transaction costs more than what is in it.

What comes while one is under way goes into the next. Who comes alone waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from waifu_llm.tasks import Tasks

T = TypeVar("T")
_MOST = 200


class Gathering(Generic[T]):
    """Hands over changes in the order that they came in, some at a time."""

    def __init__(self, write: Callable[[Sequence[T]], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []
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

    async def _write_some(self, some: list[tuple[T, asyncio.Future[None]]]) -> None:
        """One that cannot be written keeps no other from it."""
        try:
            await self._write([change for change, _ in some])
        except Exception as error:
            if len(some) > 1:
                for each in some:
                    await self._write_some([each])
            elif not some[0][1].done():
                some[0][1].set_exception(error)
        else:
            for _, written in some:
                if not written.done():  # else its owner has left
                    written.set_result(None)
