"""What a worker takes next: the urgent first, and nothing never."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from support import until

from services.redis import Redis
from waifu_llm.workers.link import Link
from waifu_llm.workers.names import GROUP, Names
from waifu_llm.workers.scripts import ENTER
from waifu_llm.workers.taker import Found, Taker

NAMES = Names("taker")


@pytest.fixture
async def link(redis: Redis) -> AsyncIterator[Link]:
    link = Link(redis.url)
    await link.redis.flushall()
    yield link
    await link.close()


async def enter(link: Link, route: str, count: int) -> None:
    keys = [NAMES.work("live", route), NAMES.routes, NAMES.module("m")]
    for _ in range(count):
        await ENTER.run(
            link.redis, keys, GROUP, 100, 3600, route, 30, time.time(), "d", "work", "back", "m"
        )


async def test_none_of_a_workers_models_waits_for_ever_for_another(link: Link) -> None:
    streams: list[str] = []

    def begin(found: Found) -> asyncio.Task[None]:
        streams.append(found.stream)
        return asyncio.create_task(asyncio.sleep(0))

    taker = Taker(link, NAMES, "w", places=1, lease=30, begin=begin)
    taker.routes = ["echo", "echo/busy", "echo/other"]
    await enter(link, "echo/busy", 20)
    await enter(link, "echo/other", 2)
    taking = asyncio.create_task(taker.run())
    await until(lambda: len(streams) == 22)
    taker.drain()
    await taking
    assert streams[:9].count(NAMES.work("live", "echo/other")) == 2
