"""What an operator sees of the queues, and does about what was parked. Needs no module."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from waifu_llm.errors import InvalidMessage, WaifuError
from waifu_llm.workers import events, parked
from waifu_llm.workers.events import Errand
from waifu_llm.workers.fleet import Fleet
from waifu_llm.workers.link import Link
from waifu_llm.workers.names import GROUP, URGENCIES, Names
from waifu_llm.workers.parked import Parked

_FORGOTTEN_SECONDS = 86_400.0
_LEASE_SECONDS = 30.0


class Queue(Struct, frozen=True):
    """What is asked for over one route, with one urgency."""

    route: str
    urgency: str
    waiting: int
    running: int
    waiting_seconds: float
    """How long the oldest has waited."""


async def queues(link: Link, names: Names) -> list[Queue]:
    """Those in which something is."""
    redis = link.redis
    await redis.zremrangebyscore(names.routes, "-inf", time.time() - _FORGOTTEN_SECONDS)
    told: Any = await redis.zrange(names.routes, 0, -1)
    found = [
        await _look(link, names.work(urgency, route), route, urgency)
        for route in sorted(each.decode() for each in told)
        for urgency in URGENCIES
    ]
    return [each for each in found if each.waiting or each.running]


async def _look(link: Link, stream: str, route: str, urgency: str) -> Queue:
    redis = link.redis
    entries = await redis.xlen(stream)
    groups: Any = await redis.xinfo_groups(stream) if entries else []
    group = next((each for each in groups if each["name"] in (GROUP, GROUP.encode())), None)
    running = group["pending"] if group else 0
    after = group["last-delivered-id"] if group else b"0-0"
    oldest: Any = await redis.xrange(stream, f"({_text(after)}", "+", count=1)
    since = int(_text(oldest[0][0]).partition("-")[0]) / 1000 if oldest else time.time()
    waited = round(max(0.0, time.time() - since), 3)
    return Queue(route, urgency, max(0, entries - running), running, waited)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


# What was parked


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
