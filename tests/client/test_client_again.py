"""A connection that was lost is made again, and what was loaded is loaded again."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from client_stage import StartModule, begun, text_of, until_lost
from support import LIMIT, Module
from websockets.asyncio.server import ServerConnection, serve

from waifu_llm.client import Client, connect
from waifu_llm.errors import InvalidProvider, Unavailable


@pytest.mark.parametrize("frame", ["[]", "no JSON", '"text"', '{"interrupted":5}'])
async def test_what_is_no_message_is_a_lost_connection(frame: str) -> None:
    connections = itertools.count()

    async def talk(websocket: ServerConnection) -> None:
        first = next(connections) == 0
        async for data in websocket:
            asked = json.loads(data)
            if first and asked["type"] == "status":
                await websocket.send(frame)
                continue
            answer = {"type": f"{asked['type']}_done", "is_error": False}
            answer["unique_request_id"] = asked.get("unique_request_id")
            await websocket.send(json.dumps(answer))

    async with serve(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}") as llm, asyncio.timeout(LIMIT):
            with pytest.raises(Unavailable, match="no message of a module"):
                await llm.status()
            assert await llm.status()


@pytest.fixture
async def lost(start_module: StartModule) -> AsyncIterator[tuple[Client, Module]]:
    """A client that had loaded things on a module which was then killed, and that module."""
    own = start_module()
    async with connect(own.url) as llm:
        for name in ("echo", "plain", "echo"):
            await llm.load(name)
        await llm.load("keyed", api_key="key-1234", alias="k")
        await llm.load("echo")
        _, listening = await begun(llm)
        own.kill()
        await until_lost(listening)
        yield llm, own


async def test_after_a_loss_it_connects_and_loads_again(
    lost: tuple[Client, Module], start_module: StartModule
) -> None:
    llm, former = lost
    boot_id = llm.info["boot_id"]
    await asyncio.to_thread(start_module, "--port", str(former.port))
    assert (await llm.generate("who", model="whoami", provider="k")).response.startswith("1234")
    assert (await llm.generate("back", model="echo")).provider == "echo"
    assert llm.info["boot_id"] != boot_id


async def test_what_is_asked_for_while_disconnected_waits_for_the_connection(
    lost: tuple[Client, Module], start_module: StartModule
) -> None:
    llm, former = lost
    waiting = asyncio.create_task(llm.generate("early", model="echo"))
    streaming = asyncio.create_task(text_of(llm.stream("bird", model="echo")))
    await asyncio.to_thread(start_module, "--port", str(former.port))
    assert (await waiting).response == "early"
    assert await streaming == "bird"


async def test_what_was_given_up_while_disconnected_is_not_sent(
    lost: tuple[Client, Module], start_module: StartModule
) -> None:
    llm, former = lost
    given_up = asyncio.create_task(llm.load("plain", alias="given-up"))
    waiting = asyncio.create_task(llm.models("given-up"))
    await asyncio.sleep(0)
    given_up.cancel()
    with suppress(asyncio.CancelledError):
        await given_up
    await asyncio.to_thread(start_module, "--port", str(former.port))
    with pytest.raises(InvalidProvider):
        await waiting


async def test_closing_does_not_wait_for_a_connection(start_module: StartModule) -> None:
    own = start_module()
    async with connect(own.url) as llm:
        await llm.load("echo")
        _, listening = await begun(llm)
        own.kill()
        await until_lost(listening)
        waiting = asyncio.create_task(llm.status())
        await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="closed"):
        await asyncio.wait_for(waiting, LIMIT)


async def test_a_request_waits_no_longer_than_it_was_told_to(start_module: StartModule) -> None:
    own = start_module()
    async with connect(own.url, timeout=0.5) as llm:
        await llm.load("echo")
        _, listening = await begun(llm)
        own.kill()
        await until_lost(listening)
        with pytest.raises(Unavailable, match="No module answers"):
            await llm.status()
