"""A Redis that is away for a while: what was to be done there is done when it is back."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from redis.exceptions import RedisError

from waifu_llm.tasks import end

T = TypeVar("T")
log = logging.getLogger("waifu_llm.workers")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
ALL_ARE_BACK_SECONDS = 1.5 * _LONGEST_PAUSE
"""After an outage, everybody who lives has said so by then."""
FAILURES = (RedisError, OSError)
"""A TimeoutError is an OSError."""
_MOST_SHOWN = 300


def _plainly(exc: BaseException) -> str:
    return f"Redis: {str(exc)[:_MOST_SHOWN] or type(exc).__name__}."


class Outages:
    """Those of one Redis."""

    def __init__(self, explain: Callable[[BaseException], str] = _plainly) -> None:
        self._explain = explain
        self.trouble = ""
        """Why it cannot be used, in a sentence; nothing while it can."""
        self._over_at = -math.inf

    @property
    def over_at(self) -> float:
        """Since when it can be used without a break, by this machine's clock."""
        return monotonic() if self.trouble else self._over_at

    @property
    def steady_for(self) -> float:
        """The seconds since."""
        return monotonic() - self.over_at

    async def through(self, step: Callable[[], Awaitable[T]]) -> T:
        """Do this, however often it takes. A step may have been done whose answer was lost, so
        each of them must bear to be done again. What goes well tells that a trouble is over only
        where it met with it: a Redis that is full still lets one read."""
        pause, failed = _FIRST_PAUSE, False
        while True:
            try:
                done = await _cancellable(step)
            except FAILURES as exc:
                self.tell(exc)
                failed = True
            else:
                if failed:
                    self.tell(None)
                return done
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def tell(self, exc: BaseException | None) -> None:
        """Once for each trouble, not for each try."""
        trouble = self._explain(exc) if exc else ""
        if trouble and trouble != self.trouble:
            log.warning("%s Trying on.", trouble)
        elif self.trouble and not trouble:
            log.warning("Redis is there again.")
            self._over_at = monotonic()
        self.trouble = trouble


async def _cancellable(step: Callable[[], Awaitable[T]]) -> T:
    """redis-py swallows a cancellation that comes while it connects, and works on."""
    working = asyncio.ensure_future(step())
    try:
        await asyncio.wait([working])
    except asyncio.CancelledError:
        await end([working])
        if not working.cancelled():
            working.exception()  # seen, so that nobody complains that it was not
        raise
    return working.result()
