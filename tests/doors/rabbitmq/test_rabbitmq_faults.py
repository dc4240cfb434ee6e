"""What cannot be read or done is answered, and keeps nobody else waiting."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aio_pika
import pika
import pytest
from fake_instructions import FakeInstructions
from plain_client import PlainClient
from rabbitmq_stage import Open, answer_to, in_thread, is_connected
from support import until

from services.rabbitmq import RabbitMQ
from waifu_llm.doors import backlog
from waifu_llm.errors import Busy, InvalidMessage

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
