"""A stream before there is a word of it, and one that breaks off."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from support import LIMIT
from test_streams import Line, Words, said

from waifu_llm.conversation import Params
from waifu_llm.doors.http import asking, instruction_routes, streams
from waifu_llm.doors.http.connection import Connection
from waifu_llm.doors.http.messages import Clock, Head
from waifu_llm.doors.http.reply import Reply
from waifu_llm.errors import Unavailable


class Known(Line, Connection):
    """A connection as far as a stream needs one."""


@pytest.fixture
async def exchange(monkeypatch):
    monkeypatch.setattr(streams, "QUIET_SECONDS", 0.01)
    head = Head("POST", "/", {}, "", takes_chunks=False)
    return SimpleNamespace(reply=Reply(Known(), head, Clock()))


@pytest.fixture
def load(monkeypatch):
    """Has every load fail, once that is let happen."""
    may_fail = asyncio.Event()

    @asynccontextmanager
    async def guest_with(engine, provider):
        await may_fail.wait()
        raise Unavailable("It does not load.")
        yield

    monkeypatch.setattr(asking, "guest_with", guest_with)
    return may_fail


def streamed(exchange):
    asked = asking.generate("echo", Params(), stream=True, messages=[])
    engine = SimpleNamespace(closing=False)
    return asyncio.create_task(asking.stream(engine, asked, exchange, Words()))


async def test_who_waits_for_a_load_is_shown_that_we_live(exchange, load):
    task = streamed(exchange)
    async with asyncio.timeout(LIMIT):
        while not exchange.reply.has_begun:
            await asyncio.sleep(0)
    load.set()
    await task
    assert said(exchange.reply.line).endswith("[alive][failed:UNAVAILABLE]")
    written = len(exchange.reply.line.writes)
    await asyncio.sleep(0.03)
    assert len(exchange.reply.line.writes) == written


async def test_a_load_that_fails_at_once_has_a_status_of_its_own(exchange, load):
    load.set()
    with pytest.raises(Unavailable):
        await streamed(exchange)
    assert not exchange.reply.has_begun


async def test_who_goes_while_it_loads_is_given_no_more_signs(exchange, load):
    task = streamed(exchange)
    await asyncio.sleep(0)
    listener = exchange.reply.line.on_writable.__self__
    task.cancel()
    await asyncio.wait([task])
    assert listener._quiet.cancelled()


@pytest.mark.parametrize("has_begun", [True, False])
async def test_a_stream_that_is_torn_off_says_so(exchange, has_begun):
    async def carry_out(instruction, *, key, on_chunk):
        if has_begun:
            on_chunk("hi")
            await asyncio.sleep(0)
        raise Unavailable("The module is shutting down.")

    instructions = SimpleNamespace(carry_out=carry_out)
    streaming = instruction_routes._stream(instructions, {}, None, exchange)
    if has_begun:
        assert await streaming is None
        assert "shutting down" in said(exchange.reply.line)
        assert exchange.reply.is_whole
    else:
        with pytest.raises(Unavailable):
            await streaming
