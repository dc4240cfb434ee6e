"""A real module that takes instructions over a real RabbitMQ: started, closed, killed, misled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from plain_client import PlainClient
from support import LIMIT, Module, Wire
from websockets.asyncio.client import connect

from services.rabbitmq import RabbitMQ

LLM = {"provider_name": "echo", "llm_name": "count"}
SLOW = {"max_output_length": 20, "extra": {"delay_ms": 50}}


@pytest.fixture
def serve(
    start_module: Callable[..., Module], rabbitmq: RabbitMQ, queue: str, new_home: Path
) -> Callable[..., Module]:
    """Starts a module at that queue, always with the same home."""

    def serve(url: str = rabbitmq.url, **environ: str) -> Module:
        flags = ["--rabbitmq", url, "--rabbitmq-queue", queue]
        return start_module(*flags, WAIFU_LLM_HOME=str(new_home), **environ)

    return serve


@asynccontextmanager
async def talking_to(module: Module) -> AsyncIterator[Wire]:
    async with connect(module.url) as websocket:
        yield Wire(websocket)


async def until_connected(wire: Wire) -> dict[str, Any]:
    status = await wire.status_until(lambda each: each["rabbitmq"]["state"] == "connected")
    return dict(status["rabbitmq"])


def furnish(client: PlainClient) -> dict[str, Any]:
    """What is needed to ask a model that takes its time."""
    client.ask("USER_CREATE", {"username": "ann"})
    chat = client.ask("CHAT_CREATE", {"title": "talk", "usernames": ["ann"]})["data"]["chat"]
    client.ask("LLM_PROVIDER_ADD", {"name": "echo"})
    client.ask("LLM_ADD", LLM)
    return {"chat_id": chat["chat_id"], "username": "ann", "user_input": "go", **LLM}


@pytest.mark.parametrize("how", ["close", "kill"])
async def test_what_a_model_is_asked_goes_on_in_the_next_module(
    serve: Callable[..., Module], plain: PlainClient, how: str
) -> None:
    module = serve()
    room = await asyncio.to_thread(furnish, plain)
    asked = {"type": "LLM_RESPONSE_GENERATE", "data": {**room, "params": SLOW}}
    sent = [plain.send(asked) for _ in range(5)]
    async with talking_to(module) as wire:
        await wire.status_until(lambda status: status["generations"] > 0)
        await wire.status_until(lambda status: status["rabbitmq"]["long_waiting"] == 5)
    if how == "close":
        async with talking_to(module) as wire:
            await wire.send({"type": "close"})
        assert await asyncio.to_thread(module.wait) == 0
    else:
        module.kill()
    serve()
    answers = await asyncio.to_thread(plain.wait_whole, 5)
    assert sorted(properties.correlation_id for properties, _ in answers) == sorted(sent)
    assert {answer["status"] for _, answer in answers} == {"success"}
    loaded = await asyncio.to_thread(plain.ask, "CHAT_LOAD", {"chat_id": room["chat_id"]})
    said = [each["role"] for each in loaded["data"]["chat"]["messages"]]
    assert said == ["user", "assistant"] * 5  # each once


async def test_what_is_sent_is_done_once_and_answered_over_kills_of_the_module(
    serve: Callable[..., Module], plain: PlainClient
) -> None:
    def send(first: int) -> set[str]:
        some = range(first, first + 100)
        return {
            plain.send({"type": "CHAT_CREATE", "data": {"title": str(number)}}, delivery_mode=2)
            for number in some
        }

    sent: set[str] = set()
    for kills in range(3):
        module = serve()
        sent |= await asyncio.to_thread(send, 100 * kills)
        async with talking_to(module) as wire:
            await wire.status_until(lambda status: status["rabbitmq"]["answered"] > 20)
        module.kill()
    serve()
    answered: set[str] = set()
    while answered != sent:  # what was under way when it was killed may be answered twice
        (one,) = await asyncio.to_thread(plain.wait_whole)
        assert one[1]["status"] == "success"
        answered.add(one[0].correlation_id)
    plain.heard.clear()
    listed = await asyncio.to_thread(last_answer, plain, "CHAT_LIST")
    assert sorted(int(chat["title"]) for chat in listed["data"]["chats"]) == list(range(300))


def last_answer(client: PlainClient, type: str) -> Any:
    """Whatever else still comes before it."""
    id = client.send({"type": type, "data": {}})
    while True:
        ((properties, answer),) = client.wait_whole()
        if properties.correlation_id == id:
            return answer


async def test_the_status_shows_how_the_door_stands(
    serve: Callable[..., Module], rabbitmq: RabbitMQ, queue: str, plain: PlainClient
) -> None:
    module = serve()
    await asyncio.to_thread(plain.ask, "USER_LIST")
    async with talking_to(module) as wire:
        shown = await until_connected(wire)
    assert shown["address"] == f"127.0.0.1:{rabbitmq.port}"
    assert (shown["queue"], shown["taken"], shown["answered"]) == (queue, 1, 1)


async def test_a_password_that_is_refused_is_shown_nowhere(
    serve: Callable[..., Module], rabbitmq: RabbitMQ
) -> None:
    url = f"amqp://guest:a-wrong%2Fpassword@127.0.0.1:{rabbitmq.port}"
    module = serve(url, WAIFU_LLM_LOG_LEVEL="debug")  # of a library that shows each frame
    async with talking_to(module) as wire:
        status = await wire.status_until(lambda each: "message" in each["rabbitmq"])
        assert "`guest`" in status["rabbitmq"]["message"]
        assert (await wire.load())["is_error"] is False  # the rest goes on
        await wire.send({"type": "close"})
    assert await asyncio.to_thread(module.wait) == 0
    told = "\n".join([*module.errors, json.dumps(status)])
    assert "refuses the user `guest`" in told
    assert "a-wrong" not in told


async def test_everything_can_come_from_variables(
    serve: Callable[..., Module], rabbitmq: RabbitMQ
) -> None:
    module = serve("env", RABBITMQ_HOST="127.0.0.1", RABBITMQ_PORT=str(rabbitmq.port))
    async with talking_to(module) as wire:
        await until_connected(wire)


async def test_variables_alone_turn_nothing_on(
    start_module: Callable[..., Module], rabbitmq: RabbitMQ, new_home: Path
) -> None:
    variables = {"RABBITMQ_HOST": "127.0.0.1", "RABBITMQ_PORT": str(rabbitmq.port)}
    module = start_module(WAIFU_LLM_HOME=str(new_home), **variables)
    async with talking_to(module) as wire:
        assert "rabbitmq" not in await wire.ask({"type": "status"})


async def test_it_closes_in_time_while_the_broker_hangs(
    serve: Callable[..., Module], tmp_path: Path
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        module = serve(f"amqp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with talking_to(module) as wire:
            await wire.send({"type": "close"})
        async with asyncio.timeout(LIMIT):
            assert await asyncio.to_thread(module.wait) == 0
