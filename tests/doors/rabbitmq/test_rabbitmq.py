"""Instructions over RabbitMQ are carried out in order, answered, and done once."""

from __future__ import annotations

import json
from typing import Any

import pika
import pytest
from fake_instructions import FakeInstructions
from plain_client import PlainClient
from rabbitmq_stage import Open, answer_to, in_thread
from support import LIMIT, until

from services.rabbitmq import RabbitMQ
from waifu_llm.doors.rabbitmq import DEAD

# The plain way


async def test_a_blocking_client_is_answered_where_it_waits(door: Open, plain: PlainClient) -> None:
    async with door():
        sent = await in_thread(plain.send, {"type": "T", "data": 1})
        ((properties, answer),) = await in_thread(plain.wait_whole)
    assert answer == answer_to(1)
    assert properties.correlation_id == sent
    assert properties.content_type == "application/json"


async def test_a_client_with_a_direct_reply_is_answered(
    door: Open, rabbitmq: RabbitMQ, queue: str, plain: PlainClient
) -> None:
    def ask() -> list[Any]:
        heard: list[Any] = []
        with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
            channel = connection.channel()
            channel.basic_consume(
                "amq.rabbitmq.reply-to", lambda *heard_: heard.append(heard_[3]), auto_ack=True
            )
            properties = pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id="1")
            channel.basic_publish("", queue, b'{"type":"T","data":1}', properties)
            while not heard:
                connection.process_data_events(time_limit=LIMIT)
        return heard

    async with door() as opened:
        assert [json.loads(each) for each in await in_thread(ask)] == [answer_to(1)]
        await until(lambda: opened.status()["answered"] == 1)
    assert opened.status()["nobody_waits"] == 0


async def test_what_nobody_waits_for_is_done(
    door: Open, plain: PlainClient, instructions: FakeInstructions
) -> None:
    plain.send({"type": "T", "data": 1}, reply_to=None)
    async with door():
        await until(lambda: instructions.done == [1])
    assert await in_thread(plain.depth, plain._queue) == 0


@pytest.mark.parametrize("prefetch", [1, 8])
async def test_those_of_one_sender_are_carried_out_in_their_order(
    door: Open, plain: PlainClient, instructions: FakeInstructions, prefetch: int
) -> None:
    for number in range(300):
        plain.send({"type": "T", "data": number})
    async with door(rabbitmq_prefetch=prefetch):
        answers = await in_thread(plain.wait, 300)
    assert instructions.done == list(range(300))
    assert sorted(answer["data"] for answer in answers) == list(range(300))


# What takes long


async def test_what_takes_long_holds_nothing_up(
    door: Open, plain: PlainClient, instructions: FakeInstructions
) -> None:
    instructions.go_on.clear()
    async with door():
        for number in range(20):
            plain.send({"type": "LONG", "data": number})
        assert await in_thread(plain.ask, "T", "quick") == answer_to("quick")
        assert await in_thread(plain.depth, plain._queue) == 0
        instructions.go_on.set()
        answers = await in_thread(plain.wait, 20)
        await until(lambda: not instructions.inbox)
    assert sorted(answer["data"] for answer in answers) == list(range(20))


async def test_what_may_not_be_kept_is_refused_and_lies_nowhere(
    door: Open, plain: PlainClient, queue: str, instructions: FakeInstructions
) -> None:
    async with door():
        answer = await in_thread(plain.ask, "LONG", "secret")
        assert answer == {"status": "error", "message": "a secret", "data": {}}
        assert await in_thread(plain.depth, queue + DEAD) == 0
    assert not instructions.inbox


async def test_what_takes_long_goes_on_behind_the_next_door(
    door: Open, plain: PlainClient, instructions: FakeInstructions
) -> None:
    instructions.go_on.clear()
    async with door():
        for number in range(5):
            plain.send({"type": "LONG", "data": number})
        await until(lambda: len(instructions.inbox) == 5)
    instructions.go_on.set()
    async with door():
        answers = await in_thread(plain.wait, 5)
        await until(lambda: not instructions.inbox)
    assert sorted(answer["data"] for answer in answers) == list(range(5))
    assert sorted(instructions.done) == list(range(5))


# The same again


async def test_the_same_message_twice_is_done_once_and_answered_twice(
    door: Open, plain: PlainClient, instructions: FakeInstructions
) -> None:
    async with door():
        for type in ("T", "T", "LONG", "LONG"):
            plain.send({"type": type, "data": 1}, message_id=f"the-same-again-and-again-{type}")
            await in_thread(plain.wait)
    assert instructions.done == [1, 1]


async def test_a_correlation_id_alone_makes_it_the_same(
    door: Open, plain: PlainClient, instructions: FakeInstructions
) -> None:
    async with door():
        for _ in range(2):
            assert await in_thread(plain.ask, "T", 1, correlation_id="1") == answer_to(1)
    assert instructions.done == [1]


async def test_two_clients_who_both_count_are_not_mixed_up(
    door: Open, rabbitmq: RabbitMQ, queue: str, plain: PlainClient, instructions: FakeInstructions
) -> None:
    async with door():
        with PlainClient(rabbitmq.url, queue) as other:
            for client in (plain, other):
                await in_thread(client.ask, "T", 1, correlation_id="1")
    assert instructions.done == [1, 1]


async def test_without_any_id_it_is_answered_and_done_each_time(
    door: Open, plain: PlainClient, instructions: FakeInstructions
) -> None:
    async with door():
        for type in ("T", "T", "LONG", "LONG"):
            await in_thread(plain.ask, type, 1, correlation_id=None)
    assert instructions.done == [1, 1, 1, 1]
