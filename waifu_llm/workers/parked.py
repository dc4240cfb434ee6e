"""What could not be done, put aside with its reason: shown, tried again or dropped by a person."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from waifu_llm.workers import events
from waifu_llm.workers.link import Link
from waifu_llm.workers.names import GROUP, Names
from waifu_llm.workers.scripts import PARK
from waifu_llm.workers.taker import Found

MOST = 1000
KEPT_SECONDS = 7 * 86_400


class Parked(Struct, frozen=True):
    """One of them."""

    id: str
    stream: str
    why: str
    when: float
    body: bytes

    @property
    def about(self) -> dict[str, Any]:
        """What may be shown: what was said is nobody's business here."""
        about = {"id": self.id, "stream": self.stream, "why": self.why, "when": self.when}
        try:
            errand = events.decode_errand(self.body)
        except events.UNREADABLE:
            return about
        model = errand.request.params.model_id if errand.request else errand.model_id
        return {**about, "op": errand.op, "provider": errand.source.provider, "model": model}


async def park(link: Link, names: Names, worker: str, found: Found, why: str) -> None:
    body = found.fields.get(b"d", msgspec.json.encode([str(found.fields)]))
    fields: list[str | bytes] = ["stream", found.stream, "why", why, "d", body]
    keys, about = [found.stream, names.parked], [GROUP, worker, found.id, MOST, KEPT_SECONDS]
    await PARK.run(link.redis, keys, *about, *fields, "when", str(time.time()))


async def everything(link: Link, names: Names) -> list[Parked]:
    found: Any = await link.redis.xrange(names.parked)
    return [_parked(*each) for each in found]


async def drop(link: Link, names: Names, ids: Sequence[str]) -> int:
    return int(await link.redis.xdel(names.parked, *ids)) if ids else 0


async def drop_all(link: Link, names: Names) -> int:
    count = int(await link.redis.xlen(names.parked))
    await link.redis.delete(names.parked)
    return count


def _parked(id: bytes, fields: dict[bytes, bytes]) -> Parked:
    def text(name: bytes) -> str:
        return fields.get(name, b"").decode("utf-8", "replace")

    when = float(fields.get(b"when", b"0"))
    return Parked(id.decode(), text(b"stream"), text(b"why"), when, fields.get(b"d", b""))
