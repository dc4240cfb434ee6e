"""How much waits for workers, and for how long."""

from __future__ import annotations

import time
from typing import Any

from msgspec import Struct

from waifu_llm.workers.link import Link
from waifu_llm.workers.names import GROUP, URGENCIES, Names
from waifu_llm.workers.scripts import QUEUES

_FORGOTTEN_SECONDS = 86_400.0


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
    routes = sorted(each.decode() for each in told)
    places = [(route, urgency) for route in routes for urgency in URGENCIES]
    streams = [names.work(urgency, route) for route, urgency in places]
    seen = await QUEUES.run(redis, streams, GROUP) if streams else []
    found = [_queue(*place, *each) for place, each in zip(places, seen, strict=True)]
    return [each for each in found if each.waiting or each.running]


def _queue(route: str, urgency: str, entries: int, running: int, oldest: bytes) -> Queue:
    since = int(oldest.partition(b"-")[0]) / 1000 if oldest else time.time()
    waited = round(max(0.0, time.time() - since), 3)
    return Queue(route, urgency, max(0, entries - running), running, waited)
