"""The Python client over RabbitMQ: with a real broker, and a real module behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aio_pika
import pika
import pytest
from support import LIMIT, Module

from services.rabbitmq import RabbitMQ
from waifu_llm import rabbitmq_client
from waifu_llm.errors import InvalidMessage, Unavailable, Unexpected, Unsupported


@pytest.fixture
def serve(
    start_module: Callable[..., Module], rabbitmq: RabbitMQ, queue: str, new_home: Path
) -> Callable[[], Module]:
    """Starts a module at that queue, always with the same home."""
    flags = ["--store", "sqlite", "--rabbitmq", rabbitmq.url, "--rabbitmq-queue", queue]
    return lambda: start_module(*flags, WAIFU_LLM_HOME=str(new_home))


async def test_a_whole_talk_without_a_word_of_json(
    serve: Callable[[], Module], rabbitmq: RabbitMQ, queue: str
) -> None:
    serve()
    async with rabbitmq_client.connect(rabbitmq.url, queue=queue) as chats:
        user = await chats.user_create("john_doe", profile="Sample profile")
        chat = await chats.chat_create("Sample Chat", user_ids=[user["user_id"]])
        await chats.llm_provider_add("echo")
        await chats.llm_add("echo", provider_name="echo")
        answer = await chats.llm_response_generate(
            chat["chat_id"],
            "Who won?",
            llm={"provider_name": "echo", "llm_name": "echo"},
            username="john_doe",
        )
        again = await chats.llm_response_regenerate(answer["message_id"])
        assert (answer["content"], again["content"]) == ("Who won?", "Who won?")
        assert [each["title"] for each in await chats.chat_list_by_user(user_id=1)] == [
            "Sample Chat"
        ]
        with pytest.raises(InvalidMessage, match="john_doe"):
            await chats.user_create("john_doe")
        with pytest.raises(Unsupported, match="WebSocket"):
            await chats.llm_response_regenerate(answer["message_id"], on_chunk=print)


async def test_what_is_asked_waits_for_a_module_and_survives_the_broker_s_restart(
    serve: Callable[[], Module], rabbitmq: RabbitMQ, queue: str
) -> None:
    async with rabbitmq_client.connect(rabbitmq.url, queue=queue) as chats, asyncio.timeout(LIMIT):
        asked = [asyncio.create_task(chats.chat_create(str(number))) for number in range(50)]
        await asyncio.to_thread(rabbitmq.restart)
        serve()
        made = await asyncio.gather(*asked)
        assert sorted(int(chat["title"]) for chat in made) == list(range(50))
        assert len(await chats.chat_list()) == 50


async def answering(rabbitmq: RabbitMQ, queue: str, body: bytes) -> AsyncIterator[Any]:
    """Stands where a module would, and answers each with the same."""
    connection = await aio_pika.connect(rabbitmq.url)
    channel = await connection.channel()
    await channel.declare_queue(queue, durable=True)
    async with connection, (await channel.get_queue(queue)).iterator(no_ack=True) as asked:
        async for message in asked:
            reply = aio_pika.Message(body, correlation_id=message.correlation_id)
            await channel.default_exchange.publish(reply, message.reply_to, mandatory=False)
            yield message


async def test_what_a_broker_forgot_is_asked_again_under_the_same_id(
    rabbitmq: RabbitMQ, queue: str
) -> None:
    """It confirmed it, and then lost it: and so it may with an answer."""
    client = rabbitmq_client.connect(rabbitmq.url, queue=queue)
    async with client as chats, asyncio.timeout(LIMIT):
        asked = asyncio.create_task(chats.user_list())
        with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
            channel = connection.channel()
            while not (lost := channel.basic_get(queue, auto_ack=True))[0]:
                await asyncio.sleep(0.01)
            channel.queue_delete(client._answers)
        users = b'{"status":"success","message":"","data":{"users":[]}}'
        replies = answering(rabbitmq, queue, users)
        again = await anext(replies)
        assert await asked == []
        await replies.aclose()
    assert (again.message_id, again.body) == (lost[1].message_id, lost[2])


@pytest.mark.parametrize("body", [b"not JSON", b"[]", b"\xff"])
async def test_an_answer_that_is_none_is_an_error_and_the_next_one_is_heard(
    rabbitmq: RabbitMQ, queue: str, body: bytes
) -> None:
    async with rabbitmq_client.connect(rabbitmq.url, queue=queue) as chats, asyncio.timeout(LIMIT):
        for _ in range(2):
            asked = asyncio.create_task(chats.user_list())
            replies = answering(rabbitmq, queue, body)
            await anext(replies)
            with pytest.raises(Unexpected, match="is none"):
                await asked
            await replies.aclose()


async def test_a_queue_that_somebody_deleted_is_said(rabbitmq: RabbitMQ, queue: str) -> None:
    async with rabbitmq_client.connect(rabbitmq.url, queue=queue) as chats, asyncio.timeout(LIMIT):
        with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
            connection.channel().queue_delete(queue)
        with pytest.raises(Unavailable, match=queue):
            await chats.user_list()


async def test_nothing_of_a_client_stays_with_the_broker(rabbitmq: RabbitMQ, queue: str) -> None:
    client = rabbitmq_client.connect(rabbitmq.url, queue=queue)
    async with client:
        pass
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        channel = connection.channel()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
            channel.queue_declare(client._answers, passive=True)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("guest:wrong-pass@127.0.0.1:{port}", "refuses the user"),
        ("127.0.0.1:1", "No RabbitMQ answers at 127.0.0.1:1"),
    ],
)
async def test_why_there_is_no_connection_is_said(
    rabbitmq: RabbitMQ, place: str, said: str
) -> None:
    url = "amqp://" + place.format(port=rabbitmq.port)
    with pytest.raises(Unavailable, match=said) as caught:
        async with rabbitmq_client.connect(url, timeout=2):
            pass
    assert "wrong-pass" not in str(caught.value)
