"""How often a provider that dies is started again: at once, then later and later, then not."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from time import monotonic

from waifu_llm.errors import ProviderCrashed

TOO_MANY = 5
WITHIN_SECONDS = 180.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0


class Restarts:
    """Remembers the deaths of one loaded thing's processes."""

    def __init__(
        self,
        clock: Callable[[], float] = monotonic,
        chance: Callable[[], float] = random.random,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._on_death = on_death
        self._deaths: deque[float] = deque(maxlen=TOO_MANY)

    def note_death(self) -> None:
        self._deaths.append(self._clock())
        self._on_death()

    @property
    def given_up_for(self) -> float:
        """Seconds until it may be tried again, once it has died too often."""
        if len(self._deaths) < TOO_MANY:
            return 0.0
        return max(0.0, self._deaths[0] + WITHIN_SECONDS - self._clock())

    def refuse(self, name: str) -> None:
        """
        Raises:
            ProviderCrashed: When it has died too often.
        """
        if seconds := self.given_up_for:
            raise ProviderCrashed(
                f"`{name}` died {TOO_MANY} times in {WITHIN_SECONDS / 60:g} minutes and is not "
                f"started again for {seconds:.0f} s. `waifu-llm logs {name}` shows what it said.",
                retry_after_ms=round(seconds * 1000),
            )

    def pause(self) -> float:
        """Seconds to wait before the next start. Chance keeps many from starting as one."""
        recent = [death for death in self._deaths if death > self._clock() - WITHIN_SECONDS]
        if len(recent) < 2:
            return 0.0
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (len(recent) - 2))
        due = recent[-1] + longest * (0.5 + self._chance() / 2)
        return max(0.0, due - self._clock())
