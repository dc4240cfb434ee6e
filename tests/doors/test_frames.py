"""The writer that reaches behind the public face of websockets, over a real connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import pytest
from support import LIMIT
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedOK

from waifu_llm import answers
from waifu_llm.doors import frames
from waifu_llm.doors.frames import FrameWriter

PREFIX = answers.piece_prefix("generate_stream_chunk", "a")
OTHER = answers.piece_prefix("generate_stream_chunk", "b")
BLOCK = "x" * 8 * frames.BEHIND


@asynccontextmanager
async def pair(
    compression: str | None = None,
) -> AsyncIterator[tuple[FrameWriter, ClientConnection]]:
    """A writer, and the client at its other end."""
    ready: asyncio.Queue[ServerConnection] = asyncio.Queue()

    async def talk(connection: ServerConnection) -> None:
        ready.put_nowait(connection)
        await connection.wait_closed()

    options = {"compression": compression, "ping_interval": None}
    async with serve(talk, "127.0.0.1", 0, write_limit=frames.BEHIND, **options) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with connect(url, max_size=None, **options) as client:
            yield FrameWriter(await ready.get(), stalled_seconds=0.2), client


async def receive(client: ClientConnection) -> dict[str, str]:
    return json.loads(await asyncio.wait_for(client.recv(), LIMIT))


def fall_behind(writer: FrameWriter, client: ClientConnection) -> str:
    """Stop the client's reading, and send more than the sockets between can hold."""
    client.transport.pause_reading()
    sent = 0
    while writer._behind is None:
        writer.chunk(OTHER, BLOCK)
        writer.flush()
        sent += 1
    return BLOCK * sent


def test_the_version_of_websockets_is_bounded_where_this_was_tried() -> None:
    assert version("websockets").split(".")[0] == "17"


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_messages_arrive_whole_and_in_order(compression: str | None) -> None:
    async with pair(compression) as (writer, client):
        writer.send(b'{"n":1}')
        for text in ("Grüße", ' "quoted"\n', "🎀"):
            writer.chunk(PREFIX, text)
        writer.send_now(b'{"n":2}')
        assert await receive(client) == {"n": 1}
        texts = [(await receive(client))["chunk"] for _ in range(3)]
        assert texts == ["Grüße", ' "quoted"\n', "🎀"]
        assert await receive(client) == {"n": 2}


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("size", [2, 125, 126, 65_535, 65_536, 1_000_000])
async def test_a_message_of_any_size_is_one_frame(compression: str | None, size: int) -> None:
    message = b'"' + b"x" * (size - 2) + b'"'
    async with pair(compression) as (writer, client):
        writer.send_now(message)
        assert await asyncio.wait_for(client.recv(decode=False), LIMIT) == message


async def test_nothing_follows_the_frame_that_closes() -> None:
    async with pair() as (writer, client):
        await writer._connection.close()
        writer.send_now(b'{"n":1}')
        with pytest.raises(ConnectionClosedOK):
            await receive(client)


async def test_what_gathers_before_a_flush_is_one_write() -> None:
    async with pair() as (writer, client):
        writes: list[bytes] = []
        writer._connection.transport = Recording(writer._connection.transport, writes)
        for _ in range(10):
            writer.chunk(PREFIX, "word ")
        assert writes == []
        writer.flush()
        writer.flush()
        assert len(writes) == 1
        assert (await receive(client))["chunk"] == "word "


class Recording:
    """A transport that notes what is written to it."""

    def __init__(self, transport: asyncio.Transport, writes: list[bytes]) -> None:
        self._transport = transport
        self._writes = writes

    def write(self, data: bytes) -> None:
        self._writes.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)


async def test_a_client_that_fell_behind_gets_a_streams_chunks_merged() -> None:
    async with pair() as (writer, client):
        writer._stalled_seconds = LIMIT
        before = fall_behind(writer, client)
        for word in ("one ", "two ", "three"):
            writer.chunk(PREFIX, word)
            writer.flush()
        writer.send_now(b'{"end":true}')
        client.transport.resume_reading()
        messages = [await receive(client)]
        while "end" not in messages[-1]:
            messages.append(await receive(client))
        own = [each["chunk"] for each in messages[:-1] if each["unique_request_id"] == "a"]
        assert own == ["one two three"]
        others = "".join(e["chunk"] for e in messages[:-1] if e["unique_request_id"] == "b")
        assert others == before


async def test_a_client_that_caught_up_gets_every_chunk_as_it_comes_again() -> None:
    async with pair() as (writer, client):
        writer._stalled_seconds = LIMIT
        before = fall_behind(writer, client)
        client.transport.resume_reading()
        seen = 0
        while seen < len(before):
            seen += len((await receive(client))["chunk"])
        await writer.drained()
        for word in ("one ", "two"):
            writer.chunk(PREFIX, word)
        writer.flush()
        assert [(await receive(client))["chunk"] for _ in range(2)] == ["one ", "two"]


async def test_one_that_reads_nothing_is_cut_off() -> None:
    async with pair() as (writer, client):
        fall_behind(writer, client)
        await asyncio.wait_for(writer._connection.wait_closed(), LIMIT)
        assert writer._backlog_size == 0
        client.transport.abort()


async def test_one_that_asks_for_too_much_and_reads_nothing_is_cut_off_at_once() -> None:
    async with pair() as (writer, client):
        writer._stalled_seconds = 10 * LIMIT
        fall_behind(writer, client)
        for _ in range(2 + frames.TOO_MUCH // len(BLOCK)):
            writer.chunk(PREFIX, BLOCK)
        await asyncio.wait_for(writer._connection.wait_closed(), LIMIT)
        client.transport.abort()


async def test_writing_to_one_that_is_gone_does_no_harm() -> None:
    async with pair() as (writer, client):
        await client.close()
        await writer._connection.wait_closed()
        writer.chunk(PREFIX, "nobody hears this")
        writer.send_now(b"{}")
        await writer.drained()
