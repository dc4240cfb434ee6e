"""First come, first served: for each sender, each chat, each provider by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Turns:
    """What is under one name is done in its order, so many at a time; names do not wait for each
    other."""

    def __init__(self, at_once: int = 1) -> None:
        self._at_once = at_once
        self._places: dict[Hashable, asyncio.Semaphore] = {}
        self._there: dict[Hashable, int] = {}

    def __len__(self) -> int:
        """Under how many names something is to be done."""
        return len(self._there)

    @asynccontextmanager
    async def turn(self, name: Hashable) -> AsyncIterator[None]:
        """Whose turn it is is decided by when this was entered."""
        places = self._places.setdefault(name, asyncio.Semaphore(self._at_once))
        self._there[name] = self._there.get(name, 0) + 1
        try:
            async with places:
                yield
        finally:
            self._there[name] -= 1
            if not self._there[name]:
                del self._there[name], self._places[name]
