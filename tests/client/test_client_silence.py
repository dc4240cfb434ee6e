"""After an interrupt nothing is heard, and nothing goes on upstream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from client_stage import (
    begun,
    endless,
    slow_to_end,
    text_of,
    until_generating,
    until_upstream_is_idle,
)
from support import LIMIT, Module
from websockets.asyncio.server import serve

from waifu_llm.client import Client, Stream, connect


async def test_a_stream_can_be_interrupted(llm: Client) -> None:
    stream, listening = await begun(llm)
    await stream.interrupt()
    assert await listening == "1"
    assert stream.answer is not None
    assert (stream.answer.response, stream.answer.finish_reason) == ("1", "interrupt")
    await until_upstream_is_idle(llm)


async def test_an_interrupt_at_once_comes_after_what_it_stops(llm: Client) -> None:
    stream = endless(llm)
    await stream.interrupt()
    assert await text_of(stream) == ""
    assert stream.answer is not None
    assert stream.answer.finish_reason == "interrupt"
    await until_upstream_is_idle(llm)


async def test_no_text_comes_after_an_interrupt_returned(llm: Client) -> None:
    unread, text = await unread_stream(llm)
    await unread.interrupt()
    assert [chunk async for chunk in text] == []
    assert unread.answer is not None
    assert len(unread.answer.response.split()) > 1


async def test_no_text_comes_between_an_interrupt_and_the_final() -> None:
    async with serve(slow_to_end, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}") as llm:
            stream = llm.stream("Go", model="m")
            text = aiter(stream)
            assert await anext(text) == "heard"
            await stream.interrupt()
            following = asyncio.create_task(anext(text, None))
            await llm.status()
            assert await asyncio.wait_for(following, LIMIT) is None


async def test_an_interrupt_from_elsewhere_costs_no_text_that_came_before(
    llm: Client, module: Module
) -> None:
    unread, text = await unread_stream(llm, session="stage")
    async with connect(module.url) as other:
        await other.interrupt(session="stage")
    await until_generating(llm, 0)
    heard = "1" + "".join([chunk async for chunk in text])
    assert unread.answer is not None
    assert (unread.answer.response, unread.answer.finish_reason) == (heard, "interrupt")
    assert len(heard.split()) > 1


async def unread_stream(llm: Client, **more: Any) -> tuple[Stream, AsyncIterator[str]]:
    """A stream of which more came than was taken."""
    stream = endless(llm, delay_ms=1, **more)
    text = aiter(stream)
    await anext(text)
    await llm.generate("Go", model="count", extra={"delay_ms": 5})
    return stream, text


async def test_a_pull_that_is_cancelled_stops_where_it_is_made(module: Module) -> None:
    async with connect(module.url) as llm:
        begun = asyncio.Event()
        pulling = asyncio.create_task(
            llm.pull("large", provider="puller", on_progress=lambda *_: begun.set())
        )
        async with asyncio.timeout(LIMIT):
            await begun.wait()
        pulling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pulling
        answer = await llm.generate("How often was it stopped?", model="any", provider="puller")
        assert answer.response == "1"


async def test_an_interrupt_of_one_leaves_the_others(llm: Client) -> None:
    one, listening = await begun(llm)
    other, _ = await begun(llm)
    assert await llm.interrupt(one.id) == [one.id]
    assert await listening == "1"
    assert await llm.interrupt() == [other.id]


async def test_an_interrupt_of_all_stops_all_of_this_client(llm: Client, module: Module) -> None:
    async with connect(module.url) as neighbour:
        await neighbour.load("echo")
        foreign, _ = await begun(neighbour)
        own = [await begun(llm) for _ in range(3)]
        assert await llm.interrupt() == [stream.id for stream, _ in own]
        assert await asyncio.gather(*(task for _, task in own)) == ["1"] * 3
        assert await neighbour.interrupt() == [foreign.id]


async def test_an_interrupt_of_a_session_reaches_every_client(llm: Client, module: Module) -> None:
    async with connect(module.url) as neighbour:
        await neighbour.load("echo")
        foreign, listening = await begun(neighbour, session="stage")
        own, _ = await begun(llm, session="backstage")
        assert await llm.interrupt(session="stage") == [foreign.id]
        assert await listening == "1"
        assert await llm.interrupt() == [own.id]


async def test_a_silenced_namesake_costs_no_text_of_ones_own(module: Module) -> None:
    async with connect(module.url) as one, connect(module.url) as other:
        foreign, _ = await begun(one, provider="echo", session="stage")
        own = other.stream("mine stays whole", model="echo", provider="echo")
        await other.generate("until it is here", model="echo", provider="echo")
        assert await other.interrupt(session="stage") == [foreign.id]
        assert await text_of(own) == "mine stays whole"


async def test_leaving_the_loop_early_interrupts_upstream(llm: Client) -> None:
    async for _ in endless(llm):
        break
    await until_generating(llm, 0)
    await until_upstream_is_idle(llm)


async def test_an_exception_in_the_loop_interrupts_upstream(llm: Client) -> None:
    async def stumble() -> None:
        async for _ in endless(llm):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await stumble()
    await until_generating(llm, 0)
    await until_upstream_is_idle(llm)


async def test_cancelling_generate_interrupts_upstream(llm: Client) -> None:
    extra = {"first_delay_ms": 60_000}
    task = asyncio.create_task(llm.generate("Go", model="count", extra=extra))
    await until_generating(llm, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_generating(llm, 0)
    await until_upstream_is_idle(llm)


async def test_closing_the_client_interrupts_upstream(llm: Client, module: Module) -> None:
    async with connect(module.url) as leaving:
        await leaving.load("echo")
        await begun(leaving)
    await until_generating(llm, 0)
    await until_upstream_is_idle(llm)
