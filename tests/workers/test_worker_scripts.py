"""What happens in a real Redis all at once: taken, kept, claimed, finished and parked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.redis import Redis
from waifu_llm.workers.link import Link
from waifu_llm.workers.names import GROUP, Names
from waifu_llm.workers.scripts import CLAIM, ENTER, FINISH, KEEP, PARK, TAKE, TIDY

NAMES = Names("scripts")
LIVE, LOW = NAMES.work("live", "echo"), NAMES.work("low", "echo")
BACK, MODULE = NAMES.back("m"), NAMES.module("m")


@pytest.fixture
async def link(redis: Redis) -> AsyncIterator[Link]:
    link = Link(redis.url)
    await link.redis.flushall()
    yield link
    await link.close()


async def enter(link: Link, stream: str = LIVE, most: int = 10, module: str = "m") -> Any:
    keys = [stream, NAMES.routes, NAMES.module(module)]
    fields = ["d", "work", "back", module]
    bounds = [GROUP, most, 3600, "echo", 30, time.time()]
    return await ENTER.run(link.redis, keys, *bounds, *fields)


async def take(link: Link, worker: str, count: int = 10) -> list[Any]:
    keys, about = [LIVE, LOW], [GROUP, worker, count, NAMES.module(""), 3600]
    found: list[Any] = await TAKE.run(link.redis, keys, *about)
    return found


async def finish(link: Link, worker: str, id: bytes, events: bytes = b"events") -> Any:
    return await FINISH.run(link.redis, [LIVE, BACK], GROUP, worker, id, events, 100, 60)


async def keep(link: Link, worker: str, id: bytes) -> Any:
    return (await KEEP.run(link.redis, [LIVE, MODULE], GROUP, worker, id))[0]


async def test_the_streams_are_taken_in_the_order_that_they_are_named_in(link: Link) -> None:
    await enter(link, LOW)
    await enter(link, LIVE)
    assert [each[0].decode() for each in await take(link, "w")] == [LIVE, LOW]


async def test_no_more_is_taken_than_there_is_room_for(link: Link) -> None:
    for stream in (LIVE, LOW, LIVE):
        await enter(link, stream)
    assert len(await take(link, "w", 2)) == 2
    assert len(await take(link, "w", 2)) == 1


async def test_what_is_too_much_is_refused(link: Link) -> None:
    assert await enter(link, most=1)
    assert await enter(link, most=1) is None
    assert len(await take(link, "w")) == 1
    assert await enter(link, most=1)  # what is taken waits no longer


async def test_what_nobody_waits_for_any_more_is_thrown_away(link: Link) -> None:
    await enter(link)
    await link.redis.delete(MODULE)
    assert await take(link, "w") == []
    assert await link.redis.xlen(LIVE) == 0


async def test_what_was_taken_belongs_to_one_worker(link: Link) -> None:
    await enter(link)
    ((_, id, _),) = await take(link, "one")
    assert await take(link, "two") == []
    assert await keep(link, "one", id) == b"kept"
    assert await keep(link, "two", id) == b"lost"


async def test_a_worker_hears_when_nobody_waits_for_what_it_does(link: Link) -> None:
    await enter(link)
    ((_, id, _),) = await take(link, "one")
    await link.redis.delete(MODULE)
    assert await keep(link, "one", id) == b"alone"


async def test_only_what_was_not_kept_is_claimed_and_its_tries_are_counted(link: Link) -> None:
    await enter(link)
    ((_, id, _),) = await take(link, "one")
    assert await CLAIM.run(link.redis, [LIVE], GROUP, "two", 60_000, 10) == []
    ((_, claimed, _, tries),) = await CLAIM.run(link.redis, [LIVE], GROUP, "two", 0, 10)
    assert (claimed, tries) == (id, 2)
    assert await keep(link, "two", id) == b"kept"
    ((_, _, _, tries),) = await CLAIM.run(link.redis, [LIVE], GROUP, "one", 0, 10)
    assert tries == 3  # that it was kept did not count


async def test_what_the_dead_had_is_found_behind_much_that_the_living_have(link: Link) -> None:
    for _ in range(40):
        await enter(link, most=100)
    *living, dead = [id for _, id, _ in await take(link, "one", 40)]
    await asyncio.sleep(0.3)
    for id in living:
        await keep(link, "one", id)
    ((_, claimed, _, _),) = await CLAIM.run(link.redis, [LIVE], GROUP, "two", 250, 1)
    assert claimed == dead


async def test_the_end_is_said_and_the_entry_goes_in_one_step(link: Link) -> None:
    await enter(link)
    ((_, id, _),) = await take(link, "one")
    assert await finish(link, "one", id) == 1
    assert await link.redis.xlen(LIVE) == 0
    assert await link.redis.xlen(BACK) == 1
    assert 0 < await link.redis.ttl(BACK) <= 60


async def test_who_lost_an_entry_can_neither_answer_nor_end_it(link: Link) -> None:
    await enter(link)
    ((_, id, _),) = await take(link, "one")
    await CLAIM.run(link.redis, [LIVE], GROUP, "two", 0, 10)
    assert await finish(link, "one", id) == 0
    assert await link.redis.xlen(BACK) == 0
    assert await finish(link, "two", id) == 1


async def test_what_redis_forgot_can_still_be_answered(link: Link) -> None:
    await enter(link)
    ((_, id, _),) = await take(link, "one")
    await link.redis.flushall()
    assert await keep(link, "one", id) == b"alone"
    assert await finish(link, "one", id) == 1
    assert await link.redis.xlen(BACK) == 1


async def test_what_is_parked_is_out_of_the_way(link: Link) -> None:
    await enter(link)
    ((_, id, _),) = await take(link, "one")
    keys, about = [LIVE, NAMES.parked], [GROUP, "two", id, 100, 60, "why", "it kills"]
    assert await PARK.run(link.redis, keys, *about) == 0
    about[1] = "one"
    assert await PARK.run(link.redis, keys, *about) == 1
    assert await link.redis.xlen(LIVE) == 0
    ((_, fields),) = await link.redis.xrange(NAMES.parked)
    assert fields == {b"why": b"it kills"}


async def test_every_stream_expires_and_those_that_are_offered_stay(link: Link) -> None:
    await take(link, "one")
    assert 0 < await link.redis.ttl(LOW) <= 3600
    await link.redis.expire(LOW, 10)
    await TIDY.run(link.redis, [LIVE, LOW], GROUP, 3600, 60_000)
    assert await link.redis.ttl(LOW) > 10


async def test_workers_that_are_gone_are_forgotten_when_nothing_is_theirs(link: Link) -> None:
    for worker in ("busy", "gone", "there"):
        await enter(link)
        ((_, id, _),) = await take(link, worker)
        if worker != "busy":
            await finish(link, worker, id)
        await asyncio.sleep(0.2 if worker == "gone" else 0.0)
    await TIDY.run(link.redis, [LIVE, LOW], GROUP, 3600, 150)
    found = await link.redis.xinfo_consumers(LIVE, GROUP)
    assert sorted(each["name"] for each in found) == [b"busy", b"there"]


async def test_a_redis_that_was_started_anew_is_told_the_scripts_again(link: Link) -> None:
    await enter(link)
    await link.redis.script_flush()
    assert len(await take(link, "w")) == 1
