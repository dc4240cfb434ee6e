"""The watch over what was sent: it sees what is lost, and costs little."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from test_sent import Heard, Post

from services.redis import Redis
from waifu_llm.jobs.work import Source
from waifu_llm.workers import watch as watched
from waifu_llm.workers.events import Errand
from waifu_llm.workers.link import Link
from waifu_llm.workers.names import GROUP, Names
from waifu_llm.workers.roll import Roll
from waifu_llm.workers.scripts import ENTER
from waifu_llm.workers.sent import Sent
from waifu_llm.workers.watch import Watch

NAMES = Names("watch")
MEGABYTE = b"x" * 1024 * 1024
LEASE = 30.0


@pytest.fixture
async def link(redis: Redis) -> AsyncIterator[Link]:
    link = Link(redis.url)
    await link.redis.flushall()
    yield link
    await link.close()


@pytest.fixture
def again() -> list[Sent]:
    """What is put in again."""
    return []


@pytest.fixture
def watch(link: Link, again: list[Sent]) -> Watch:
    return Watch(link, NAMES, Roll(link, NAMES), LEASE, again.append)


async def waiting(link: Link, heard: Heard, body: bytes = b"work") -> Sent:
    """One that nobody has taken, and that was put in a while ago."""
    sent = Sent(Post(), Errand("e", "m", "generate", Source("echo")), "live", heard)
    sent.route, sent.stream = "echo", NAMES.work("live", "echo")
    keys = [sent.stream, NAMES.routes, NAMES.module("m")]
    bounds = [GROUP, 100, 3600, sent.route, 30, time.time()]
    sent.entry = await ENTER.run(link.redis, keys, *bounds, "d", body, "back", "m")
    sent.heard -= 60.0
    return sent


async def test_what_redis_has_no_more_is_put_in_again(
    link: Link, watch: Watch, again: list[Sent]
) -> None:
    kept, lost = await waiting(link, Heard()), await waiting(link, Heard())
    await link.redis.xdel(lost.stream, lost.entry)
    for _ in range(3):
        await watch.look("m", [kept, lost])
    assert again == [lost]


async def test_what_waits_is_not_read_again_at_every_look(link: Link, watch: Watch) -> None:
    sent = await waiting(link, Heard(), MEGABYTE)
    before = (await link.redis.info("stats"))["total_net_output_bytes"]
    await watch.look("m", [sent])
    after = (await link.redis.info("stats"))["total_net_output_bytes"]
    assert after - before < len(MEGABYTE) / 10


async def test_that_nobody_is_there_is_counted_anew_each_time(
    link: Link, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Heard(), Heard()
    now = time.monotonic()
    await watch.look("m", [await waiting(link, first)])
    monkeypatch.setattr(watched, "monotonic", lambda: now + 3600.0)
    await watch.look("m", [])
    await watch.look("m", [await waiting(link, second)])
    assert second.all == []
