"""Instructions over a real RabbitMQ, whatever happens to it. A stand-in carries them out."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import pika
import pytest
from fake_instructions import FakeInstructions
from plain_client import PlainClient

from services.rabbitmq import LARGEST, RabbitMQ
from soak.proxy import Proxy
from waifu_llm.config import Config
from waifu_llm.doors import backlog
from waifu_llm.doors.rabbitmq import DEAD, RabbitDoor
from waifu_llm.errors import Busy, InvalidMessage
from waifu_llm.rabbitmq.address import read_address
from waifu_llm.rabbitmq.link import Patience

BRIEF = Patience(confirm=1.0, first_pause=0.05, longest_pause=0.2)
LIMIT = 30.0


@pytest.fixture
def queue() -> str:
    """One for each test: none finds what another left."""
    return f"instructions-{uuid.uuid4().hex}"


@pytest.fixture
def instructions() -> FakeInstructions:
    return FakeInstructions()


Open = Callable[..., Any]


@pytest.fixture
def door(rabbitmq: RabbitMQ, queue: str, instructions: FakeInstructions) -> Open:
    """Opens a door, and closes it."""

    @asynccontextmanager
    async def open(url: str = "", **settings: Any) -> AsyncIterator[RabbitDoor]:
        config = Config(rabbitmq_queue=queue, **settings)
        made = RabbitDoor(instructions, read_address(url or rabbitmq.url, {}), config, BRIEF)
        made.open()
        try:
            yield made
        finally:
            await made.close()

    return open


@pytest.fixture
def plain(rabbitmq: RabbitMQ, queue: str) -> Any:
    with PlainClient(rabbitmq.url, queue) as client:
        yield client


async def in_thread(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    return await asyncio.to_thread(function, *arguments, **named)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT):
        while not holds():
            await asyncio.sleep(0.01)


def is_connected(door: RabbitDoor) -> Callable[[], bool]:
    return lambda: door.status()["state"] == "connected"


def answer_to(data: Any) -> Any:
    return {"status": "success", "message": "Done.", "data": data}


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


# What cannot be read


@pytest.mark.parametrize(
    "body", [b"not JSON", b"[]", b"\xff", b"", b'{"a":' * 40 + b"1" + b"}" * 40]
)
async def test_what_cannot_be_read_is_kept_and_its_sender_hears_why(
    door: Open, plain: PlainClient, body: bytes
) -> None:
    async with door():
        plain.send(body, message_id="m", correlation_id="c", headers={"its": "own"})
        (answer,) = await in_thread(plain.wait)
        assert answer["status"] == "error"
        assert answer["data"] == {}
        assert await in_thread(plain.ask, "T", "next") == answer_to("next")
    properties, kept = await in_thread(plain.get, f"{plain._queue}.dead")
    assert kept == body
    assert properties.headers == {"its": "own", "x-waifu-llm-reason": answer["message"]}
    assert (properties.reply_to, properties.correlation_id) == (plain.answers_to, "c")


async def test_an_id_that_is_no_text_does_not_stop_what_comes_after_it(
    door: Open, plain: PlainClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    strictly = pika.data.encode_short_string

    def leniently(pieces: list[bytes], value: str) -> int:
        if value != "binary":
            return int(strictly(pieces, value))
        pieces.append(b"\x02\xff\xfe")
        return 3

    monkeypatch.setattr(pika.data, "encode_short_string", leniently)
    plain.send({"type": "T", "data": 1}, message_id="binary")
    async with door():
        (answer,) = await in_thread(plain.wait)
        assert answer["status"] == "error"
        assert await in_thread(plain.ask, "T", "next") == answer_to("next")
    _, kept = await in_thread(plain.get, f"{plain._queue}.dead")
    assert json.loads(kept) == {"type": "T", "data": 1}


async def test_what_is_too_large_is_kept_unread(door: Open, plain: PlainClient) -> None:
    async with door(max_message_bytes=1024):
        answer = await in_thread(plain.ask, "T", "x" * 2000)
    assert answer["status"] == "error"
    assert await in_thread(plain.depth, f"{plain._queue}.dead") == 1


async def test_a_fault_is_an_answer(door: Open, plain: PlainClient) -> None:
    async with door():
        answer = await in_thread(plain.ask, "FAULT")
    assert answer["status"] == "error"
    assert "fault" in answer["message"]


async def test_a_fault_of_the_door_keeps_nobody_from_being_served(
    door: Open, plain: PlainClient, instructions: FakeInstructions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instructions, "is_long", lambda asked: not 1 / len(asked["data"]))
    async with door(rabbitmq_prefetch=1):
        plain.send({"type": "T", "data": ""})
        plain.send({"type": "T", "data": "next"})
        answers = await in_thread(plain.wait, 2)
    assert answer_to("next") in answers
    assert {each["status"] for each in answers} == {"success", "error"}
    assert await in_thread(plain.depth, f"{plain._queue}.dead") == 1


@pytest.mark.parametrize("fault", [RuntimeError, OSError, StopAsyncIteration, InvalidMessage])
async def test_whatever_keeps_an_instruction_from_being_accepted_is_an_answer(
    door: Open,
    plain: PlainClient,
    instructions: FakeInstructions,
    monkeypatch: pytest.MonkeyPatch,
    fault: type[Exception],
) -> None:
    """Such as a driver of a database raises, and the one of the broker when it is gone."""

    async def accept(*_: object) -> None:
        raise fault("It cannot be kept.")

    monkeypatch.setattr(instructions, "accept", accept)
    async with door(rabbitmq_prefetch=1):
        answer = await in_thread(plain.ask, "LONG", 1)
        assert answer["status"] == "error"
        assert "It cannot be kept." in answer["message"]
        assert await in_thread(plain.ask, "T", "next") == answer_to("next")
    assert await in_thread(plain.depth, plain._queue) == 0
    assert await in_thread(plain.depth, f"{plain._queue}.dead") == 1


async def test_an_instruction_that_comes_while_others_keep_the_store_busy_is_accepted(
    door: Open, plain: PlainClient, instructions: FakeInstructions, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept, calls = instructions.accept, iter(range(3))

    async def accept_at_last(*asked: Any) -> Any:
        if next(calls) < 2:
            raise Busy("Others change the same at this moment. Try again.")
        return await accept(*asked)

    monkeypatch.setattr(backlog, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(instructions, "accept", accept_at_last)
    async with door():
        assert await in_thread(plain.ask, "LONG", 1) == answer_to(1)


async def test_what_is_delivered_at_once_is_answered_over_the_same_connection(
    door: Open, plain: PlainClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker hands out what lies in the queue before it says that there is a consumer."""
    consume = aio_pika.Queue.consume

    async def consume_slowly(queue: Any, callback: Any) -> Any:
        tag = await consume(queue, callback)
        await asyncio.to_thread(plain.wait_whole)
        return tag

    monkeypatch.setattr(aio_pika.Queue, "consume", consume_slowly)
    plain.send({"type": "T", "data": 1})
    async with door() as opened:
        await until(is_connected(opened))
        assert opened.status()["taken"] == 1


# Those who are gone


async def test_who_went_without_waiting_costs_nobody_else_anything(
    door: Open,
    rabbitmq: RabbitMQ,
    queue: str,
    plain: PlainClient,
    instructions: FakeInstructions,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with PlainClient(rabbitmq.url, queue) as leaving:
        for number in range(20):
            leaving.send({"type": "T" if number % 2 else "LONG", "data": number})
    async with door() as opened:
        assert await in_thread(plain.ask, "T", "next") == answer_to("next")
        await until(lambda: opened.status()["nobody_waits"] == 20 and not instructions.inbox)
        await until(lambda: not opened._tasks._running)
    assert await in_thread(plain.depth, queue) == 0
    assert sum("nobody waits" in each.message for each in caplog.records) == 1


# A broker that goes, and comes back


@asynccontextmanager
async def behind_proxy(rabbitmq: RabbitMQ) -> AsyncIterator[tuple[Proxy, str]]:
    proxy = Proxy("127.0.0.1", rabbitmq.port)
    await proxy.listen()
    yield proxy, f"amqp://guest:guest@127.0.0.1:{proxy.port}/"
    await proxy.close()


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


# Who is refused


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
