"""First come, first served, for each sender by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """What one sender asks for is done in its order; senders do not wait for each other."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._there: dict[str, int] = {}

    def __len__(self) -> int:
        """How many senders have something to be done."""
        return len(self._there)

    @asynccontextmanager
    async def turn(self, sender: str) -> AsyncIterator[None]:
        """Whose turn it is is decided by when this was entered."""
        lock = self._locks.setdefault(sender, asyncio.Lock())
        self._there[sender] = self._there.get(sender, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._there[sender] -= 1
            if not self._there[sender]:
                del self._there[sender], self._locks[sender]
