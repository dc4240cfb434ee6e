"""The steps in Redis, one by one: what is where after each, whoever was cut off meanwhile."""

from __future__ import annotations

import json

import pytest
from psylink_stage import OUTPUTS, PARKED, PROMPTS
from redis.asyncio import Redis

from waifu_llm.workers.outages import Outages
from waifu_llm.workers.psylink.config import Properties, RedisPlace
from waifu_llm.workers.psylink.messages import Output, Parked
from waifu_llm.workers.psylink.prompts import Prompts
from waifu_llm.workers.psylink.queues import PromptQueue

BOUNDS = Properties()
OUTPUT = Output("m", "c", "w", "in", "out", 1)
WHY = Parked("{}", "Because.", "TIMEOUT", "w", 1)


@pytest.fixture
async def link(redis, client):
    link = Redis(port=redis.port)
    yield link
    await link.aclose()


@pytest.fixture
def queue(link):
    return PromptQueue(link, RedisPlace(), "w")


@pytest.fixture
def other(link):
    """A worker of the same id."""
    return PromptQueue(link, RedisPlace(), "w")


def dies(client, queue):
    """Its lease runs out."""
    client.redis.delete(queue._lease)


async def take(queue, **bounds):
    queue.look_anew()
    return await queue.take(Properties(**bounds))


@pytest.mark.parametrize(
    ("priorities", "taken"),
    [
        ([1, 2, 3], 2),
        ([3, 2, 3], 0),
        ([6, 0, 1, 6], 2),
        ([-5, 5], 1),
        ([0, 6], None),
        ([], None),
        ([2] * 300, 0),
        ([2] * 150 + [3] + [2] * 150, 150),
        ([6] * 128 + [1] * 1, 128),
    ],
)
async def test_which_is_taken(queue, client, priorities, taken):
    sent = [client.send(str(n), priority=each) for n, each in enumerate(priorities)]
    found = await take(queue)
    assert (found and found.raw) == (None if taken is None else sent.pop(taken))
    assert client.waiting() == sent[::-1]


@pytest.mark.parametrize(
    ("raw", "in_bounds"),
    [
        (rb'{"input":"\"priority\": 9, ","priority":3}', True),
        (rb'{"input":"\"priority\": 3, ","priority":9}', False),
        (b'{"priority" :\n 3 }', True),
        (b'{"x":{"priority":3},"priority":9}', False),
        (b'{"priority":9,"x":{"priority":3}}', False),
        (b'{"\\u0070riority":9}', False),
        (b'{"priority":1e9}', False),
        (b'{"priority":-3}', False),
        (b"not JSON", True),
        (b"{}", True),
        (b'{"priority":null}', True),
        (b'{"priority":[3]}', True),
    ],
)
async def test_the_priority_is_that_of_the_message_itself(queue, client, raw, in_bounds):
    """What has none is nobody's, so whoever comes first sees to it."""
    client.push(raw)
    found = await take(queue)
    assert (found is not None) == in_bounds
    assert client.waiting() == ([] if in_bounds else [raw])


async def test_of_messages_that_are_alike_the_oldest_goes(queue, client):
    alike = client.prompt("a")
    client.push(alike)
    middle = client.send("b", priority=9)
    client.push(alike)
    await take(queue)
    assert client.waiting()[1] == middle


async def test_one_that_was_settled_is_not_settled_twice(queue, client):
    client.send()
    taken = await take(queue)
    assert await queue.settle(taken, 300, OUTPUT, None)
    assert not await queue.settle(taken, 300, OUTPUT, None)
    assert len(client.waiting(OUTPUTS)) == 1


async def test_one_of_two_that_are_alike_is_settled_at_a_time(queue, client):
    client.push(client.prompt("a"))
    client.push(client.waiting()[0])
    first, second = await take(queue), await take(queue)
    assert await queue.settle(first, 300, OUTPUT, None)
    assert await queue.settle(second, 300, OUTPUT, None)
    assert len(client.waiting(OUTPUTS)) == 2


async def test_what_the_dead_had_is_taken_next_and_in_its_order(queue, other, client):
    first, second = client.send("1"), client.send("2")
    await take(queue)
    await take(queue)
    client.send("3")
    await other.tidy(300)
    assert len(client.waiting()) == 1  # it lives
    dies(client, queue)
    assert await other.tidy(300) == 2
    found = [await take(other) for _ in range(2)]
    assert [each.raw for each in found] == [first, second]
    assert [each.deaths for each in found] == [1, 1]
    assert await other.tidy(300) == 0
    for each in found:
        await other.settle(each, 300, None, None)
    assert not any(":attempts:" in key for key in client.names())


async def test_one_that_was_only_taken_for_dead_pushes_no_output(queue, other, client):
    client.send()
    late = await take(queue)
    dies(client, queue)
    await other.tidy(300)
    again = await take(other)
    assert not await queue.settle(late, 300, OUTPUT, WHY)
    assert client.waiting(OUTPUTS) == client.waiting(PARKED) == []
    assert await queue.keep([late], 30) == {late.mark}
    assert await other.settle(again, 300, OUTPUT, None)


async def test_what_a_worker_does_not_know_that_it_has_goes_back(queue, client):
    """The answer to its taking was lost."""
    lost = client.send("lost")
    await take(queue)
    client.send("known")
    known = await take(queue)
    assert await queue.keep([known], 30) == set()
    assert client.waiting() == [lost]
    assert (await take(queue)).deaths == 0


async def test_who_was_told_to_take_no_more_meanwhile_gives_it_back(queue, client):
    raw = client.send()
    prompts = Prompts(queue, None, Outages(), "w", 1000)
    assert not await prompts.take(BOUNDS, lambda: False)
    assert client.waiting() == [raw]


async def test_taking_is_a_sign_of_life_too(queue, other, client):
    """Else a worker that was stopped, taken for dead, and took before it said that it lives would
    have something in hand that nobody looks for."""
    dies(client, queue)
    client.send()
    await take(queue, lease_seconds=1)
    await other.tidy(300)
    assert client.waiting() == []
    dies(client, queue)
    await other.tidy(300)
    assert len(client.waiting()) == 1


async def test_after_leaving_nothing_of_it_is_there(queue, client):
    raw = client.send()
    await take(queue)
    await queue.leave()
    assert client.names() == {PROMPTS}
    assert client.waiting() == [raw]


async def test_what_was_parked_is_bounded_and_expires(queue, client):
    client.redis.lpush(PARKED, *["{}"] * 1500)
    client.send()
    await queue.settle(await take(queue), 300, None, WHY)
    assert client.redis.llen(PARKED) == 1000
    assert json.loads(client.waiting(PARKED)[0])["reason"] == "Because."
    assert 0 < client.redis.ttl(PARKED) <= 86_400


def reads(client):
    return client.redis.info("commandstats")["cmdstat_lrange"]["calls"]


async def test_what_was_looked_at_is_not_looked_through_again(queue, client):
    for n in range(1000):
        client.send(str(n), priority=9)
    before = reads(client)
    assert await queue.take(BOUNDS) is None
    assert reads(client) - before > 10
    for news in range(5):
        client.send(f"news {news}", priority=9)
        before = reads(client)
        assert await queue.take(BOUNDS) is None
        assert reads(client) - before <= 3
    ours = client.send("ours")
    assert (await queue.take(BOUNDS)).raw == ours


async def test_what_is_put_back_at_the_right_end_is_seen(queue, client):
    for n in range(10):
        client.send(str(n), priority=9)
    assert await queue.take(BOUNDS) is None
    ours = json.dumps(client.prompt("ours")).encode()
    client.redis.rpush(PROMPTS, ours)
    assert (await queue.take(BOUNDS)).raw == ours


async def test_nor_is_it_where_all_are_as_urgent(queue, client):
    sent = [client.send(str(n), priority=2) for n in range(1000)]
    assert (await queue.take(BOUNDS)).raw == sent[0]
    before = reads(client)
    for n in range(1, 11):
        assert (await queue.take(BOUNDS)).raw == sent[n]
    assert reads(client) - before <= 20


async def test_what_comes_later_and_is_more_urgent_goes_first(queue, client):
    for n in range(300):
        client.send(f"old {n}", priority=1)
    assert (await queue.take(BOUNDS)).raw
    for priority in (2, 4, 3, 5, 1, 6):
        client.send(f"new {priority}", priority=priority)
    order = [json.loads((await queue.take(BOUNDS)).raw)["input"] for _ in range(5)]
    assert order == ["new 5", "new 4", "new 3", "new 2", "old 1"]


async def test_what_others_took_or_put_back_meanwhile_misleads_nobody(queue, other, client):
    for n in range(300):
        client.send(f"{n}", priority=1 + n % 3)
    taken = [await queue.take(BOUNDS)]
    client.redis.lpop(PROMPTS, 7)
    taken += [await other.take(BOUNDS) for _ in range(120)]
    client.redis.rpop(PROMPTS, 3)
    while each := await queue.take(BOUNDS):
        taken.append(each)
    assert len(taken) == 290
    urgencies = [json.loads(each.raw)["priority"] for each in taken]
    assert urgencies == sorted(urgencies, reverse=True)
    dies(client, other)
    await queue.tidy(300)
    assert len([each async for each in _all(queue)]) == 120


async def _all(queue):
    while each := await queue.take(BOUNDS):
        yield each
