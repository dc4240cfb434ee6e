"""Keeps what a worker has under way: renews its leases, and hears what became of them."""

from __future__ import annotations

import logging
from collections.abc import Collection
from time import monotonic

from waifu_llm.errors import Unavailable
from waifu_llm.workers.link import Link
from waifu_llm.workers.names import GROUP, Names
from waifu_llm.workers.run import Run
from waifu_llm.workers.scripts import KEEP

_ALONE_SECONDS = 3.0
"""So long nobody may be there who waits, before it is believed: Redis may have been emptied, and
then a module says within a second that it is there."""
log = logging.getLogger("waifu_llm.workers")


class Keeping:
    """Of one worker."""

    def __init__(self, link: Link, names: Names, worker: str) -> None:
        self._link = link
        self._names = names
        self._worker = worker

    async def keep(self, runs: Collection[Run]) -> None:
        """All of them. One that is another's now, or nobody's, is stopped."""
        kept = list(runs)
        if not kept:
            return
        keys = [key for run in kept for key in self._keys(run)]
        ids = [run.entry.id for run in kept]
        words = await KEEP.run(self._link.redis, keys, GROUP, self._worker, *ids)
        for run, word in zip(kept, words, strict=True):
            run.still_waits()
            if word == b"lost":
                log.warning("another worker took over what this one was doing")
                run.lose()
            _see_that_somebody_waits(run, is_alone=word == b"alone")

    def _keys(self, run: Run) -> tuple[str, str]:
        return run.entry.stream, self._names.module(run.entry.errand.back)


def _see_that_somebody_waits(run: Run, *, is_alone: bool) -> None:
    now = monotonic()
    run.alone_since = (run.alone_since or now) if is_alone else None
    if run.alone_since and now - run.alone_since > _ALONE_SECONDS:
        run.stop(Unavailable("The worker heard nothing of this module any more."))
