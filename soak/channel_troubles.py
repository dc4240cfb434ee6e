"""What befalls a module with channels while people write: it is killed, it is ended in peace, and
its store goes away, for a moment or for longer than anybody waits for it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from soak.channel_life import ChannelLife
from soak.channel_outages import Outages

_LOOK_SECONDS = 0.02


@dataclass
class Plan:
    """How much of what."""

    messages: int
    kills: int = 0
    ends: int = 0
    outages: int = 0

    @property
    def may_leave_doubts(self) -> bool:
        """A module that is killed cannot say what became of what it was saying; nor can one that
        ends while its store is away. Nothing else is an excuse."""
        return bool(self.kills or (self.ends and self.outages))


class Troubles:
    """Those of one run."""

    def __init__(self, life: ChannelLife, outages: Outages | None, draw: random.Random) -> None:
        self._life = life
        self._outages = outages
        self._draw = draw
        self.longest_end = 0.0

    async def befall(self, plan: Plan, written: Callable[[], int]) -> None:
        """So many, spread over all that is written, in any order."""
        deeds: list[Callable[[], Awaitable[None]]] = [
            *[self._life.kill_and_start] * plan.kills,
            *[self._end] * plan.ends,
            *([self._outages.befall] * plan.outages if self._outages else ()),
        ]
        self._draw.shuffle(deeds)
        for number, deed in enumerate(deeds):
            due = plan.messages * (number + self._draw.uniform(0.1, 0.9)) / len(deeds)
            while written() < due:
                await asyncio.sleep(_LOOK_SECONDS)
            await asyncio.sleep(self._draw.uniform(0, 0.1))
            await deed()

    async def _end(self) -> None:
        begun = time.monotonic()
        await self._life.end()
        self.longest_end = max(self.longest_end, time.monotonic() - begun)
        await self._life.start()
