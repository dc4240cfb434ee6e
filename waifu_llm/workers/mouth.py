"""How a worker says to modules what happens: while Redis takes what was said, the next gathers."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from msgspec import Struct

from waifu_llm.tasks import Tasks
from waifu_llm.workers import events
from waifu_llm.workers.events import Errand, Event
from waifu_llm.workers.link import Link
from waifu_llm.workers.names import GROUP, Names
from waifu_llm.workers.scripts import FINISH

MOST_UNSAID = 64 * 1024 * 1024
"""More is not kept while Redis is away; who waits sees that something is missing."""
_MOST_EVENTS = 100_000
_KEPT_SECONDS = 600


class Entry(Struct, frozen=True):
    """An errand as it lies in Redis."""

    stream: str
    id: bytes
    errand: Errand
    attempt: int


class Mouth:
    """Of one worker."""

    def __init__(self, link: Link, names: Names, worker: str) -> None:
        self._link = link
        self._names = names
        self._worker = worker
        self._unsaid: dict[str, list[bytes]] = defaultdict(list)
        self._size = 0
        self._ends: list[tuple[Entry, bytes]] = []
        self._saying: asyncio.Task[None] | None = None
        self._tasks = Tasks()

    def say(self, back: str, event: Event) -> None:
        if self._size < MOST_UNSAID:
            said = events.encode_event(event)
            self._unsaid[back].append(said)
            self._size += len(said)

    def finish(self, entry: Entry, last: Event | None) -> None:
        """Say the last of it, and be done with the entry: both, or neither."""
        self._ends.append((entry, events.encode_event(last) if last else b""))
        self.flush()

    def flush(self) -> None:
        if self._saying is None or self._saying.done():
            self._saying = self._tasks.start(self._say_all())

    async def over(self) -> None:
        """Until all was said."""
        await self._tasks.over()

    async def _say_all(self) -> None:
        while self._unsaid or self._ends:
            unsaid, ends = self._unsaid, self._ends
            self._unsaid, self._ends, self._size = defaultdict(list), [], 0
            if unsaid:
                await self._say(unsaid)
            await asyncio.gather(*(self._finish(*each) for each in ends))

    async def _say(self, unsaid: dict[str, list[bytes]]) -> None:
        async def send() -> None:
            pipeline = self._link.redis.pipeline(transaction=False)
            for module, said in unsaid.items():
                back = self._names.back(module)
                pipeline.xadd(back, {"e": events.together(said)}, maxlen=_MOST_EVENTS)
                pipeline.expire(back, _KEPT_SECONDS)
            await pipeline.execute()

        await self._link.surely(send)

    async def _finish(self, entry: Entry, last: bytes) -> None:
        keys = [entry.stream, self._names.back(entry.errand.back)]
        about = [GROUP, self._worker, entry.id, last, _MOST_EVENTS, _KEPT_SECONDS]
        await self._link.surely(lambda: FINISH.run(self._link.redis, keys, *about))
