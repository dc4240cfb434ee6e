"""Looks after what was sent: who has it, whether that one lives, whether Redis still knows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from waifu_llm.errors import Unavailable
from waifu_llm.workers.link import Link
from waifu_llm.workers.names import UNUSED_SECONDS, Names, presence_seconds
from waifu_llm.workers.roll import Roll
from waifu_llm.workers.scripts import THERE
from waifu_llm.workers.sent import Sent

_OBEY_SECONDS = 10.0
_QUIET_SECONDS = 1.0
_MISSED = 2
"""So often Redis may not know of one before that is believed: its end may be on its way."""


class Watch:
    """Of one module."""

    def __init__(
        self, link: Link, names: Names, roll: Roll, lease: float, again: Callable[[Sent], None]
    ) -> None:
        self._link = link
        self._names = names
        self._roll = roll
        self._lease = lease
        self._again = again
        self._nobody_since: dict[str, float] = {}

    async def look(self, module: str, everything: Sequence[Sent]) -> None:
        """Also say that the module is there."""
        redis = self._link.redis
        await redis.set(self._names.module(module), "1", ex=presence_seconds(self._lease))
        await redis.expire(self._names.back(module), UNUSED_SECONDS)
        await self._roll.look()
        entered = [each for each in everything if each.entry is not None]
        self._see_who_could_do(entered)
        for sent in entered:
            self._look_at(sent)
        await self._see_what_is_missing(entered)

    def _look_at(self, sent: Sent) -> None:
        if sent.disobeyed_for > _OBEY_SECONDS:
            sent.end()
        elif sent.worker is not None and self._roll.is_there(sent.worker):
            return
        elif sent.spoke:
            sent.is_cut_off()
        else:
            sent.still_waits()
            self._see_that_it_can_be_done(sent)

    def _see_who_could_do(self, entered: Sequence[Sent]) -> None:
        """Since when nobody could, of what is asked for now."""
        wanted = {each.route for each in entered}
        nobodys = [route for route in wanted if not self._roll.is_offered(route)]
        now, before = monotonic(), self._nobody_since
        self._nobody_since = {route: before.get(route, now) for route in nobodys}

    def _see_that_it_can_be_done(self, sent: Sent) -> None:
        now = monotonic()
        if now - self._nobody_since.get(sent.route, now) > self._lease:
            sent.fail(Unavailable(f"No worker is there any more that takes `{sent.route}`."))

    async def _see_what_is_missing(self, entered: Sequence[Sent]) -> None:
        """An empty Redis may have come in place of the one that had them."""
        quiet = [each for each in entered if monotonic() - each.heard > _QUIET_SECONDS]
        keys = [each.stream for each in quiet]
        ids = [each.entry for each in quiet]
        there = await THERE.run(self._link.redis, keys, *ids) if quiet else ()
        for sent, found in zip(quiet, there, strict=True):
            sent.missing = 0 if found else sent.missing + 1
            if sent.missing > _MISSED and not sent.over.done():
                self._put_in_again(sent)

    def _put_in_again(self, sent: Sent) -> None:
        if sent.worker is not None and monotonic() - sent.heard < self._lease:
            return  # it goes on there, and needs no entry
        if sent.spoke:
            sent.is_cut_off()
            return
        sent.begins_anew()
        self._again(sent)
