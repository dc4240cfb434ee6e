"""Whatever happens to the broker, nothing is lost or done twice."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import uuid
from typing import Any

import pika
import pytest
from fake_instructions import FakeInstructions
from plain_client import PlainClient
from rabbitmq_stage import Open, answer_to, behind_proxy, in_thread, is_connected
from support import until

from services.rabbitmq import LARGEST, RabbitMQ


async def test_nothing_is_lost_or_done_twice_over_restarts_of_the_broker(
    door: Open, rabbitmq: RabbitMQ, plain: PlainClient, queue: str, instructions: FakeInstructions
) -> None:
    """What goes in is confirmed and durable; then it comes out as an effect, once."""
    instructions.go_on.clear()
    async with door() as opened:
        await until(is_connected(opened))
        plain._channel.queue_declare(queue="answers", durable=True)
        for number in range(100):
            type = "LONG" if number % 5 == 0 else "T"
            plain.send(
                {"type": type, "data": number},
                message_id=str(uuid.uuid4()),
                reply_to="answers",
                delivery_mode=2,
            )
        await in_thread(rabbitmq.restart)
        instructions.go_on.set()
        await until(lambda: len(set(instructions.done)) == 100 and not instructions.inbox)
        await until(is_connected(opened))
        with PlainClient(rabbitmq.url, queue) as after:
            assert await in_thread(after.ask, "T", "next") == answer_to("next")
            await until(lambda: after.depth(queue) == 0)
            answers = [json.loads(after.get("answers")[1]) for _ in range(after.depth("answers"))]
    assert sorted(each for each in instructions.done if each != "next") == list(range(100))
    assert {each["data"] for each in answers} == set(range(100))


async def test_the_door_waits_for_a_broker_that_is_away(
    door: Open, rabbitmq: RabbitMQ, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    rabbitmq.stop()
    try:
        async with behind_proxy(rabbitmq) as (proxy, url), door(url) as opened:
            await until(lambda: proxy.connections > 5)
            status = opened.status()
            assert status["state"] == "not connected"
            assert str(proxy.port) in status["message"]
            await in_thread(rabbitmq.start)
            await until(is_connected(opened))
            with PlainClient(rabbitmq.url, queue) as client:
                assert await in_thread(client.ask, "T", 1) == answer_to(1)
            assert "message" not in opened.status()
    finally:
        if not rabbitmq.answers():
            rabbitmq.start()
    told = [each.message for each in caplog.records if "RabbitMQ" in each.message]
    assert len(told) == len(set(told))  # not for each try
    assert "is there again" in told[-1]


async def test_a_broker_that_hangs_is_left_and_the_answer_comes_all_the_same(
    door: Open, rabbitmq: RabbitMQ, plain: PlainClient, instructions: FakeInstructions
) -> None:
    async with behind_proxy(rabbitmq) as (proxy, url), door(url) as opened:
        await until(is_connected(opened))
        instructions.go_on.clear()
        plain.send({"type": "LONG", "data": 1}, message_id="a-long-one-of-its-own")
        await until(lambda: instructions.running)
        proxy.stall()
        instructions.go_on.set()
        await until(lambda: "takes too long" in opened.status().get("message", ""))
        proxy.flow()
        answers = await in_thread(plain.wait)
        await until(lambda: not instructions.inbox)
    assert answers == [answer_to(1)]
    assert instructions.done == [1]


async def test_an_answer_that_its_queue_has_no_room_for_keeps_nobody_else_waiting(
    door: Open, rabbitmq: RabbitMQ, plain: PlainClient, queue: str, instructions: FakeInstructions
) -> None:
    full = f"{queue}.full"
    takes_one = {"x-max-length": 1, "x-overflow": "reject-publish"}
    plain._channel.queue_declare(full, arguments=takes_one)
    async with behind_proxy(rabbitmq) as (proxy, url), door(url) as opened:
        for type in ("T", "T", "LONG", "LONG"):
            plain.send({"type": type, "data": type}, reply_to=full)
        assert await in_thread(plain.ask, "T", "next") == answer_to("next")
        await until(lambda: opened.status()["nobody_waits"] == 3 and not instructions.inbox)
        assert proxy.connections == 1
    assert await in_thread(plain.depth, queue) == 0


@pytest.mark.parametrize("type", ["T", "LONG"])
async def test_an_answer_that_is_larger_than_the_broker_takes_is_told_in_words(
    door: Open,
    plain: PlainClient,
    instructions: FakeInstructions,
    monkeypatch: pytest.MonkeyPatch,
    type: str,
) -> None:
    async def carry_out(*_: Any, **__: Any) -> dict[str, Any]:
        return {"status": "success", "message": "", "data": {"text": "x" * LARGEST}}

    monkeypatch.setattr(instructions, "carry_out", carry_out)
    async with door():
        answer = await in_thread(plain.ask, type, 1, message_id=str(uuid.uuid4()))
        assert answer["status"] == "error"
        assert f"takes at most {LARGEST}" in answer["message"]
        await until(lambda: not instructions.inbox)


async def test_a_connection_that_is_cut_is_made_again(
    door: Open, rabbitmq: RabbitMQ, plain: PlainClient, instructions: FakeInstructions
) -> None:
    async with behind_proxy(rabbitmq) as (proxy, url), door(url) as opened:
        for number in range(5):
            await until(is_connected(opened))
            for _ in range(20):
                plain.send({"type": "T", "data": number}, message_id=str(uuid.uuid4()))
            proxy.cut(random.Random(), 1.0)
            await until(lambda number=number: len(instructions.done) == 20 * (number + 1))
    assert len(instructions.done) == 100


async def test_what_is_done_when_the_connection_goes_is_brought_again_and_answered(
    door: Open,
    rabbitmq: RabbitMQ,
    plain: PlainClient,
    instructions: FakeInstructions,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with behind_proxy(rabbitmq) as (proxy, url), door(url) as opened:
        await until(is_connected(opened))
        instructions.is_kept.clear()
        plain.send({"type": "T", "data": 1}, message_id=str(uuid.uuid4()))
        await until(lambda: instructions.running)
        proxy.cut(random.Random(), 1.0)
        await until(lambda: opened.status()["state"] == "not connected")
        instructions.is_kept.set()
        assert await in_thread(plain.wait) == [answer_to(1)]
        assert opened.status()["unreadable"] == 0
    assert "fault" not in caplog.text
    assert instructions.done == [1]


async def test_a_queue_that_is_deleted_is_declared_again(
    door: Open, rabbitmq: RabbitMQ, queue: str, plain: PlainClient
) -> None:
    async with door() as opened:
        assert await in_thread(plain.ask, "T", 1) == answer_to(1)
        await in_thread(plain._channel.queue_delete, queue)
        await until(lambda: opened.status()["state"] == "not connected")
        await until(is_connected(opened))
        assert await in_thread(plain.ask, "T", 2) == answer_to(2)


async def test_a_queue_that_the_operator_declared_otherwise_is_used_as_it_is(
    rabbitmq: RabbitMQ, queue: str, door: Open
) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True, arguments={"x-max-length": 1000})
        channel.queue_declare("otherwise", exclusive=True)
        properties = pika.BasicProperties(reply_to="otherwise")
        channel.basic_publish("", queue, b'{"type":"T","data":1}', properties)
        async with door():
            await until(lambda: channel.basic_get("otherwise", auto_ack=True)[2])


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("guest:wrong-pass@127.0.0.1:{port}/", "refuses the user `guest` or the password"),
        ("nobody:wrong-pass@127.0.0.1:{port}/", "refuses the user `nobody` or the password"),
        ("guest:guest@127.0.0.1:{port}/elsewhere", "no virtual host `elsewhere`"),
    ],
)
async def test_what_the_broker_refuses_is_said_once_and_without_the_password(
    door: Open, rabbitmq: RabbitMQ, caplog: pytest.LogCaptureFixture, place: str, said: str
) -> None:
    caplog.set_level(logging.DEBUG, "waifu_llm")
    async with (
        behind_proxy(rabbitmq) as (proxy, _),
        door("amqp://" + place.format(port=proxy.port)) as opened,
    ):
        await until(lambda: proxy.connections > 3)
        assert said in opened.status()["message"]
    told = [each.message for each in caplog.records if said in each.message]
    assert len(told) == 1
    assert "wrong-pass" not in caplog.text


async def test_what_is_no_broker_is_said(door: Open) -> None:
    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(http, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, door(f"amqp://127.0.0.1:{port}") as opened:
        await until(lambda: opened.status().get("message"))
        assert f"127.0.0.1:{port}" in opened.status()["message"]
