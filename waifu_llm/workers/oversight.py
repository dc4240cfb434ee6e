"""What an operator sees of the queues, and does about what was parked. Needs no module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from waifu_llm.errors import InvalidMessage, WaifuError
from waifu_llm.workers import events, parked
from waifu_llm.workers.events import Errand
from waifu_llm.workers.fleet import Fleet
from waifu_llm.workers.link import Link
from waifu_llm.workers.names import Names
from waifu_llm.workers.parked import Parked
from waifu_llm.workers.queues import Queue, queues

_LEASE_SECONDS = 30.0
_MOST_WAITING = 1000


class Oversight:
    """Of all modules and workers that belong together."""

    def __init__(self, link: Link, names: Names) -> None:
        self._link = link
        self._names = names

    async def queues(self) -> list[Queue]:
        return await queues(self._link, self._names)

    async def parked(self) -> list[dict[str, Any]]:
        return [each.about for each in await self._all_parked()]

    async def retry(self, id: str, say: Callable[[str], None]) -> None:
        """Once more, for whoever asks for that: who asked first has long been told that it failed.
        What fails again stays where it is.

        Raises:
            InvalidMessage: When it is not there, or cannot be read.
            WaifuError: What it failed of.
        """
        (one,) = await self._find([id])
        try:
            errand = events.decode_errand(one.body)
        except events.UNREADABLE as exc:
            raise InvalidMessage(f"`{id}` cannot be read: {exc}.") from None
        await self._do(errand, say)
        await parked.drop(self._link, self._names, [id])

    async def drop(self, ids: Sequence[str]) -> int:
        """
        Raises:
            InvalidMessage: When one of them is not there.
        """
        await self._find(ids)
        return await parked.drop(self._link, self._names, ids)

    async def drop_all(self) -> int:
        return await parked.drop_all(self._link, self._names)

    async def _do(self, errand: Errand, say: Callable[[str], None]) -> None:
        printed = Printed(say)
        fleet = Fleet(self._link, self._names, lease=_LEASE_SECONDS, most_waiting=_MOST_WAITING)
        await fleet.open()
        try:
            await fleet.send(fleet.errand(**_fields(errand)), "normal", printed).over
        finally:
            await fleet.close()
        if printed.error:
            raise printed.error

    async def _find(self, ids: Sequence[str]) -> list[Parked]:
        there = {each.id: each for each in await self._all_parked()}
        for id in ids:
            if id not in there:
                raise InvalidMessage(
                    f"Nothing is parked under `{id}`. `waifu-llm queue` shows what is."
                )
        return [there[id] for id in ids]

    async def _all_parked(self) -> list[Parked]:
        return await parked.everything(self._link, self._names)


def _fields(errand: Errand) -> dict[str, Any]:
    """All but whose it was."""
    values = msgspec.structs.asdict(errand)
    return {name: values[name] for name in ("op", "source", "model_id", "texts", "request")}


class Printed:
    """A Sink for who reads along."""

    def __init__(self, show: Any) -> None:
        self.error: WaifuError | None = None
        self._show = show

    def chunk(self, text: str) -> None:
        self._show(text)

    def reasoning(self, text: str) -> None: ...
    def still_waits(self) -> None: ...
    def begins(self) -> None: ...
    def flush(self) -> None: ...
    def done(self, result: object) -> None: ...

    def failed(self, error: WaifuError) -> None:
        self.error = error
