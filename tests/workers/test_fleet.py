"""The module's side: what it learns from what workers say."""

from __future__ import annotations

import asyncio

import pytest

from services.redis import Redis
from waifu_llm.errors import Unavailable
from waifu_llm.workers.events import Event
from waifu_llm.workers.fleet import Fleet
from waifu_llm.workers.link import ANSWER_SECONDS, Link
from waifu_llm.workers.names import Names


async def test_a_worker_is_there_from_when_it_takes_something() -> None:
    """Redis may go away before the module looks for the next time."""
    link = Link("redis://127.0.0.1:1/0")
    fleet = Fleet(link, Names("waifu"), lease=2.0, most_waiting=1)
    assert not fleet.roll.is_there("w")
    fleet._give(Event("of nobody", "run", 1, taken="w"), {})
    assert fleet.roll.is_there("w")
    await fleet.close()


async def test_a_redis_that_says_nothing_holds_nobody_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        link = Link(f"redis://127.0.0.1:{port}/0")
        fleet = Fleet(link, Names("waifu"), lease=2.0, most_waiting=1)
        async with asyncio.timeout(ANSWER_SECONDS / 2):
            await fleet.open()
        assert fleet.status()["state"] == "not connected"
        await fleet.close()


async def test_a_redis_that_refuses_us_is_said_at_once(redis: Redis) -> None:
    link = Link(redis.url.replace("redis://", "redis://nobody:wrong@"))
    fleet = Fleet(link, Names("waifu"), lease=2.0, most_waiting=1)
    with pytest.raises(Unavailable, match="refuses the user or the password"):
        await fleet.open()
    await fleet.close()


async def test_it_closes_though_what_surveys_the_queues_swallows_that(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """redis-py does, while it connects."""
    surveys, left = asyncio.Event(), [asyncio.CancelledError()]

    async def deaf(*_: object) -> list[object]:
        surveys.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not left:
                raise
            left.pop()
        return []

    monkeypatch.setattr("waifu_llm.workers.fleet.queues", deaf)
    fleet = Fleet(Link(redis.url), Names("waifu"), lease=2.0, most_waiting=1)
    await fleet.open()
    await surveys.wait()
    async with asyncio.timeout(10):
        await fleet.close()
    assert not left
