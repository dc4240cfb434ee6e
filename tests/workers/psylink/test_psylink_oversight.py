"""What an operator sees of the lists, and does about what was parked."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import msgspec
import pytest
from psylink_stage import COMMANDS, PROMPTS, PlainClient
from redis.asyncio import Redis as AsyncRedis

from services.redis import Redis
from waifu_llm.errors import InvalidMessage
from waifu_llm.workers.psylink.config import Properties, RedisPlace
from waifu_llm.workers.psylink.messages import Parked
from waifu_llm.workers.psylink.oversight import Oversight
from waifu_llm.workers.psylink.queues import PromptQueue

DEEP = b'{"x": ' + b"[" * 5000 + b"]" * 5000 + b"}"
ENDLESS = b'{"timestamp": ' + b"9" * 400 + b"}"


@pytest.fixture
async def link(redis: Redis, client: PlainClient) -> AsyncIterator[AsyncRedis]:
    link = AsyncRedis(port=redis.port)
    yield link
    await link.aclose()


@pytest.fixture
def oversight(link: AsyncRedis) -> Oversight:
    return Oversight(link, RedisPlace())


async def test_each_priority_is_told_with_how_long_its_oldest_waits(
    client: PlainClient, link: AsyncRedis, oversight: Oversight
) -> None:
    client.send("old", timestamp=time.time() - 100)
    client.send("new")
    client.send("urgent", priority=5)
    client.order("ping")
    await PromptQueue(link, RedisPlace(), "w").take(Properties())
    urgent, usual, commands = await oversight.queues()
    assert (urgent.urgency, urgent.waiting, urgent.running) == ("priority 5", 0, 1)
    assert (usual.urgency, usual.waiting, usual.running) == ("priority 3", 2, 0)
    assert 100 <= usual.waiting_seconds < 200
    assert (commands.route, commands.waiting) == (COMMANDS, 1)


async def test_what_cannot_be_read_counts_and_harms_nothing(
    client: PlainClient, oversight: Oversight
) -> None:
    for each in (b"\xff", b"[]", b'{"priority": "high", "timestamp": "now"}', DEEP, ENDLESS):
        client.push(each)
        park(client, each.decode("latin-1"))
    client.redis.lpush(f"{PROMPTS}:parked", DEEP, ENDLESS)
    (queue,) = await oversight.queues()
    assert (queue.waiting, queue.waiting_seconds) == (5, 0.0)
    assert len(await oversight.parked()) == 7


def park(client: PlainClient, message: str, queue: str = PROMPTS) -> None:
    parked = Parked(message, "It was too old.", "TIMEOUT", "w", 17)
    client.redis.lpush(f"{queue}:parked", msgspec.json.encode(parked))


async def test_what_was_parked_is_told_without_what_was_said(
    client: PlainClient, oversight: Oversight
) -> None:
    park(client, client.send("a secret").decode())
    (about,) = await oversight.parked()
    assert (about["why"], about["when"]) == ("It was too old.", 17.0)
    assert (about["op"], about["client"]) == ("prompt", "c")
    assert "a secret" not in str(about)


async def test_what_is_tried_again_is_taken_next_as_if_it_came_now(
    client: PlainClient, oversight: Oversight
) -> None:
    park(client, client.send("late", timestamp=1).decode())
    client.redis.delete(PROMPTS)
    client.send("other")
    (about,) = await oversight.parked()
    said: list[str] = []
    await oversight.retry(about["id"], said.append)
    assert said == [f"It is in {PROMPTS} again."]
    assert await oversight.parked() == []
    taken = client.pop(PROMPTS)
    assert taken["input"] == "late"
    assert time.time() - taken["timestamp"] < 100


async def test_what_is_no_message_stays_parked(client: PlainClient, oversight: Oversight) -> None:
    park(client, "no JSON")
    (about,) = await oversight.parked()
    with pytest.raises(InvalidMessage, match="no message"):
        await oversight.retry(about["id"], print)
    assert len(await oversight.parked()) == 1


async def test_what_was_parked_can_be_dropped(client: PlainClient, oversight: Oversight) -> None:
    for number in range(3):
        park(client, f"no JSON {number}")
    park(client, "no command", COMMANDS)
    first, *_ = await oversight.parked()
    assert await oversight.drop([first["id"]]) == 1
    with pytest.raises(InvalidMessage, match="Nothing is parked under"):
        await oversight.drop([first["id"]])
    assert await oversight.drop_all() == 3
    assert await oversight.parked() == []
