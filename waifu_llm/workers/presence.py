"""What a worker says of itself, for modules and operators to see, until its lease ends."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress

from waifu_llm.version import __version__
from waifu_llm.workers import roll
from waifu_llm.workers.link import Link
from waifu_llm.workers.names import UNUSED_SECONDS, Names
from waifu_llm.workers.outages import FAILURES
from waifu_llm.workers.roll import Offer, Said

_GOODBYE_SECONDS = 1.0


class Presence:
    """Of one worker."""

    def __init__(self, link: Link, names: Names, worker: str, lease: float) -> None:
        self.is_draining = False
        self._link = link
        self._names = names
        self._worker = worker
        self._lease = lease
        self._started = time.time()
        self._done = self._failed = 0

    def count(self, *, failed: bool) -> None:
        self._done += not failed
        self._failed += failed

    async def say(self, offers: Mapping[str, Offer]) -> None:
        pipeline = self._link.redis.pipeline(transaction=False)
        key, said = self._names.worker(self._worker), roll.encode(self._said(offers))
        pipeline.set(key, said, ex=max(1, round(self._lease)))
        pipeline.zadd(self._names.workers, {self._worker: time.time()})
        pipeline.expire(self._names.workers, UNUSED_SECONDS)
        await pipeline.execute()

    async def say_goodbye(self) -> None:
        mine = self._names.worker(self._worker), self._names.to(self._worker)
        with suppress(TimeoutError, *FAILURES):  # it expires
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await self._link.redis.delete(*mine)
                await self._link.redis.zrem(self._names.workers, self._worker)

    def _said(self, offers: Mapping[str, Offer]) -> Said:
        return Said(
            id=self._worker,
            host=platform.node(),
            pid=os.getpid(),
            version=__version__,
            started=self._started,
            heard=time.time(),
            state="draining" if self.is_draining else "ready",
            offers=dict(offers),
            lease=self._lease,
            done=self._done,
            failed=self._failed,
        )
