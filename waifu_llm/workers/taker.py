"""Takes what one provider is asked for, as long as this worker has room for it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable
from itertools import cycle
from time import monotonic
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from waifu_llm.backend import Urgency
from waifu_llm.workers.link import BLOCK_SECONDS, Link, by_stream
from waifu_llm.workers.names import GROUP, UNUSED_SECONDS, URGENCIES, WEIGHTS, Names
from waifu_llm.workers.outages import ALL_ARE_BACK_SECONDS
from waifu_llm.workers.scripts import CLAIM, TAKE

_CLAIMED_AT_ONCE = 16
_STREAM_IS_GONE = ("NOGROUP", "UNBLOCKED")
"""Redis was emptied, before the wait or meanwhile: the next look makes it anew."""
log = logging.getLogger("waifu_llm.workers")


class Found(NamedTuple):
    """An entry, before it is read."""

    stream: str
    id: bytes
    fields: dict[bytes, bytes]
    taken_before: int


Begin = Callable[[Found], "asyncio.Task[None] | None"]


class Taker:
    """Of one provider. `routes` may change at any time."""

    def __init__(
        self, link: Link, names: Names, worker: str, *, places: int, lease: float, begin: Begin
    ) -> None:
        self.routes: list[str] = []
        self._link = link
        self._names = names
        self._worker = worker
        self._lease = lease
        self._begin = begin
        self._free = places
        self._room = asyncio.Event()
        self._room.set()
        self._spare: deque[Found] = deque()
        self._order = cycle(list(_wheel()))
        self._turns: Counter[Urgency] = Counter()
        self._claims_at = 0.0
        self._draining = False

    async def run(self) -> None:
        """Until it is drained."""
        while not self._draining:
            await self._room.wait()
            for found in await self._link.surely(self._next):
                self._start(found)
        for found in self._spare:  # they are ours already
            self._start(found)

    def drain(self) -> None:
        """Take no more. What is being read may still come."""
        self._draining = True
        self._room.set()

    def _start(self, found: Found) -> None:
        task = self._begin(found)
        if task is None:
            return
        self._free -= 1
        if self._free < 1:
            self._room.clear()
        task.add_done_callback(self._leave)

    def _leave(self, _: object) -> None:
        self._free += 1
        self._room.set()

    @property
    def streams(self) -> list[str]:
        """All that it takes from."""
        return [self._names.work(urgency, each) for urgency in URGENCIES for each in self.routes]

    # What comes next

    async def _next(self) -> list[Found]:
        """As many as there is room for; those that came beyond that wait here."""
        if not self._spare:
            self._spare.extend(await self._look())
        return [self._spare.popleft() for _ in range(min(max(self._free, 0), len(self._spare)))]

    async def _look(self) -> list[Found]:
        if not self.routes:
            await asyncio.sleep(BLOCK_SECONDS)
            return []
        if monotonic() > self._claims_at and self._link.outages.steady_for > ALL_ARE_BACK_SECONDS:
            self._claims_at = monotonic() + self._lease / 6
            if claimed := await self._claim():
                return claimed
        return await self._take() or await self._wait()

    async def _claim(self) -> list[Found]:
        """What the dead had taken. As many as there is room for."""
        idle, most = round(self._lease * 1000), min(self._free, _CLAIMED_AT_ONCE)
        found: list[Found] = []
        for stream in self._streams():
            if len(found) < most:
                about = [GROUP, self._worker, idle, most - len(found)]
                found += map(_found, await CLAIM.run(self._link.redis, [stream], *about))
        return found

    async def _take(self) -> list[Found]:
        modules = self._names.module("")
        about = [GROUP, self._worker, self._free, modules, UNUSED_SECONDS]
        return [_found(each) for each in await TAKE.run(self._link.redis, self._streams(), *about)]

    async def _wait(self) -> list[Found]:
        """For what comes first, wherever it comes. Redis wakes one of those who wait."""
        try:
            reply: Any = await self._link.redis.xreadgroup(
                GROUP,
                self._worker,
                dict.fromkeys(self._streams(), ">"),
                count=1,
                block=round(BLOCK_SECONDS * 1000),
            )
        except ResponseError as exc:
            if str(exc).startswith(_STREAM_IS_GONE):
                return []
            raise
        return [
            Found(stream, id, fields, 1)
            for stream, entries in by_stream(reply)
            for id, fields in entries
        ]

    def _streams(self) -> list[str]:
        """The most urgent first; but now and then others, so that none waits for ever. For the same
        reason each time another route is the first."""
        first: Urgency = next(self._order)
        self._turns[first] += 1
        at = self._turns[first] % max(1, len(self.routes))
        routes = [*self.routes[at:], *self.routes[:at]]
        urgencies = [first, *(each for each in URGENCIES if each != first)]
        return [self._names.work(each, route) for each in urgencies for route in routes]


def _wheel() -> Iterable[Urgency]:
    """Each as often as it weighs, evenly spread."""
    turns = [
        ((number + 1) / WEIGHTS[urgency], urgency)
        for urgency in URGENCIES
        for number in range(WEIGHTS[urgency])
    ]
    return [urgency for _, urgency in sorted(turns, key=lambda turn: turn[0])]


def _found(told: Any) -> Found:
    """As a script tells it."""
    stream, id, fields, *before = told
    named = dict(zip(fields[::2], fields[1::2], strict=True))
    return Found(stream.decode(), id, named, before[0] if before else 1)
