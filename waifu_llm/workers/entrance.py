"""Puts errands where those who can do them take their work from."""

from __future__ import annotations

import asyncio
from time import monotonic, time

import msgspec

from waifu_llm.errors import Overloaded, Unavailable, WaifuError
from waifu_llm.workers import events
from waifu_llm.workers.events import Errand
from waifu_llm.workers.link import Link
from waifu_llm.workers.names import GROUP, UNUSED_SECONDS, Names, presence_seconds
from waifu_llm.workers.roll import Roll
from waifu_llm.workers.scripts import ENTER
from waifu_llm.workers.sent import Sent

_AWAITED_SECONDS = 5.0
"""So long somebody is waited for who offers what is asked for: a worker that is started anew."""
_LOOKS_EVERY_SECONDS = 0.5
_AWAY_SECONDS = 30.0
_RETRY_AFTER_MS = 1_000


class Entrance:
    """Of one module."""

    def __init__(
        self, link: Link, names: Names, roll: Roll, lease: float, most_waiting: int
    ) -> None:
        self._link = link
        self._names = names
        self._roll = roll
        self._lease = lease
        self._most_waiting = most_waiting

    async def enter(self, sent: Sent) -> None:
        """What keeps it out is its end."""
        try:
            sent.route = await self._route_of(sent.errand)
            sent.stream = self._names.work(sent.urgency, sent.route)
            sent.entry = await self._put(sent)
        except WaifuError as error:
            sent.fail(error)
        if sent.over.done():
            sent.withdraw()

    async def _route_of(self, errand: Errand) -> str:
        """
        Raises:
            Unavailable: When no worker comes that offers it.
            InvalidModel: When none has the model.
        """
        begun, outages = monotonic(), self._link.outages
        model = errand.request.params.model_id if errand.request else errand.model_id
        while True:
            try:
                return self._roll.route(errand.source.provider, model)
            except Unavailable:
                now = monotonic()
                if outages.trouble and now - begun > _AWAY_SECONDS:
                    raise Unavailable(outages.trouble) from None
                if now - max(begun, outages.over_at) > _AWAITED_SECONDS:
                    raise
            await asyncio.sleep(_LOOKS_EVERY_SECONDS)

    async def _put(self, sent: Sent) -> bytes | None:
        """
        Raises:
            Overloaded: When too much waits there.
            Unavailable: When Redis stays away.
        """
        try:
            async with asyncio.timeout(_AWAY_SECONDS):
                is_in, entry = await self._link.surely(lambda: self._try(sent))
        except TimeoutError:
            raise Unavailable(self._link.trouble or "Redis does not answer.") from None
        if not is_in:
            raise Overloaded(
                f"{self._most_waiting} requests wait for `{sent.route}` already. "
                "Try again when some of them are answered.",
                retry_after_ms=_RETRY_AFTER_MS,
            )
        return entry

    async def _try(self, sent: Sent) -> tuple[bool, bytes | None]:
        if sent.over.done():
            return True, None
        errand = msgspec.structs.replace(sent.errand, tries=sent.attempt)
        keys = [sent.stream, self._names.routes, self._names.module(errand.back)]
        stays = presence_seconds(self._lease)
        bounds = [GROUP, self._most_waiting, UNUSED_SECONDS, sent.route, stays, time()]
        fields = ["d", events.encode_errand(errand), "back", errand.back]
        entry: bytes | None = await ENTER.run(self._link.redis, keys, *bounds, *fields)
        return entry is not None, entry
