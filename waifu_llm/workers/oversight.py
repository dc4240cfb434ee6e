"""What an operator does about what was parked. Needs no module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from waifu_llm.errors import InvalidMessage, WaifuError
from waifu_llm.workers import events, parked
from waifu_llm.workers.events import Errand
from waifu_llm.workers.fleet import Fleet
from waifu_llm.workers.link import Link
from waifu_llm.workers.names import Names
from waifu_llm.workers.parked import Parked

_LEASE_SECONDS = 30.0


async def find(link: Link, names: Names, ids: Sequence[str]) -> list[Parked]:
    """
    Raises:
        InvalidMessage: When one of them is not there.
    """
    there = {each.id: each for each in await parked.everything(link, names)}
    for id in ids:
        if id not in there:
            raise InvalidMessage(f"Nothing is parked under `{id}`. `waifu-llm queue` lists it.")
    return [there[id] for id in ids]


async def retry(link: Link, names: Names, one: Parked, sink: Printed) -> None:
    """Once more, for whoever asks for that: who asked first has long been told that it failed. What
    fails again stays where it is.

    Raises:
        InvalidMessage: When it cannot be read.
    """
    try:
        errand = events.decode_errand(one.body)
    except events.UNREADABLE as exc:
        raise InvalidMessage(f"`{one.id}` cannot be read: {exc}.") from None
    fleet = Fleet(link, names, lease=_LEASE_SECONDS, most_waiting=1000)
    await fleet.open()
    try:
        fresh = fleet.errand(**_fields(errand))
        await fleet.send(fresh, "normal", sink).over
        if sink.error is None:
            await parked.drop(link, names, [one.id])
    finally:
        await fleet.close()


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
