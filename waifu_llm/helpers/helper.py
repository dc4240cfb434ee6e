"""One helper: what it can do, how it is, and so many calls at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

from waifu_llm.errors import WaifuError
from waifu_llm.helpers.faults import Crowded, NotReached, Refused, Slow
from waifu_llm.helpers.messages import Shown
from waifu_llm.helpers.way import Capability, Way
from waifu_llm.redaction import Redactor

CHECK_SECONDS = 5.0
_WAITING_EACH = 16
"""So many may wait for each place."""
_MOST_WORDS = 1000


class Helper:
    """What the registry knows of one."""

    def __init__(
        self,
        name: str,
        way: Way,
        *,
        configured: bool = False,
        lease_seconds: float | None = None,
        at_once: int = 4,
        seconds: float = 30.0,
        redactor: Redactor | None = None,
    ) -> None:
        self.name = name
        self.way = way
        self.configured = configured
        self.is_well: bool | None = None
        self.trouble: str | None = None
        self._redactor = redactor or Redactor()
        self._seconds = seconds
        self._ends = None if lease_seconds is None else monotonic() + lease_seconds
        self._lease_seconds = lease_seconds
        self._places = asyncio.Semaphore(at_once)
        self._most_waiting = at_once * _WAITING_EACH
        self._inside = 0
        self._at_once = at_once
        self._asked = 0
        self._failed = 0

    # Its lease

    @property
    def is_over(self) -> bool:
        return self._ends is not None and monotonic() >= self._ends

    def renew(self) -> None:
        if self._lease_seconds is not None:
            self._ends = monotonic() + self._lease_seconds

    # What it can do

    @property
    def capabilities(self) -> Mapping[str, Capability]:
        return self.way.capabilities

    @property
    def can_be_asked(self) -> bool:
        return self.way.kind != "listed"

    async def call(self, capability: str, data: Mapping[str, Any]) -> Any:
        """What it answers, without any secret that it was given.

        Raises:
            WaifuError: Under its name; NotReached where another may be asked instead.
        """
        self._asked += 1
        has_place = False
        try:
            async with asyncio.timeout(self._seconds), self._place():
                has_place = True
                answer = await self.way.call(capability, data)
        except TimeoutError:
            if not has_place:
                why = f"none of its places was free within {self._seconds:g} s. Try again later."
                raise self._noted(Crowded(why)) from None
            why = f"no answer within {self._seconds:g} s. It may still do it."
            raise self._noted(Slow(why)) from None
        except WaifuError as error:
            raise self._noted(error) from None
        self.is_well, self.trouble = True, None
        return self._redactor.clean_within(answer)

    def _noted(self, error: WaifuError) -> WaifuError:
        """Who cannot be reached, or says nothing, is not well until it was looked at; one task that
        failed may have been the task's fault."""
        words = self._words_of(error)
        if not isinstance(error, Refused | Crowded):
            self._failed += 1
            self.trouble = words
        if isinstance(error, NotReached | Slow):
            self.is_well = False
        return type(error)(f"The helper `{self.name}`: {words}")

    def _words_of(self, error: WaifuError) -> str:
        """Some repeat what they were sent. They are cut afterwards: half a secret is not known."""
        words = self._redactor.clean(error.message)
        return words if len(words) <= _MOST_WORDS else f"{words[:_MOST_WORDS]}…"

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._inside >= self._at_once + self._most_waiting:
            raise Crowded("too many wait for it already. Try again later.")
        self._inside += 1
        try:
            async with self._places:
                yield
        finally:
            self._inside -= 1

    # How it is

    async def check(self) -> None:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self.way.check()
        except TimeoutError:
            self.is_well, self.trouble = False, f"It says nothing for {CHECK_SECONDS:g} s."
        except WaifuError as error:
            self.is_well, self.trouble = False, self._words_of(error)
        else:
            if self.can_be_asked:
                self.is_well, self.trouble = True, None

    def shown(self) -> Shown:
        left = None if self._ends is None else round(max(0.0, self._ends - monotonic()), 1)
        return Shown(
            name=self.name,
            kind=self.way.kind,
            capabilities=sorted(self.capabilities),
            url=self.way.shown,
            state={None: "unknown", True: "well", False: "unwell"}[self.is_well],
            trouble=self.trouble,
            configured=self.configured,
            lease_seconds_left=left,
            running=min(self._inside, self._at_once),
            asked=self._asked,
            failed=self._failed,
        )
