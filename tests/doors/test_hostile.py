"""Clients that break the protocol, dawdle, flood or never read: refused or bounded, and nobody
else notices."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from typing import Any

import pytest
from support import LIMIT, Module, Wire, counting, generate
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

MALFORMED = 1_000
IDLE_CLIENTS = 64
MEGABYTE = 1024 * 1024


def broken_messages(count: int) -> list[tuple[str, str]]:
    """Messages with one thing wrong in each, and the word by which the answer must name it."""
    draw = random.Random(7)
    ways = [wrong_type, missing_field, cut_short, unknown_type, out_of_range, too_deep, no_object]
    return [draw.choice(ways)(draw) for _ in range(count)]


def wrong_type(draw: random.Random) -> tuple[str, str]:
    path = draw.choice(
        ["params", "messages", "stream", "params.model_id", "params.temperature", "session",
         "params.stop_tokens", "params.extra", "params.names", "params.tools", "llm"]
    )  # fmt: skip
    message = generate()
    target, field = (message["params"], path[7:]) if path.startswith("params.") else (message, path)
    bad = draw.choice([17, {"a": 1}, "word", True])
    good: dict[str, Any] = {
        "stream": True, "temperature": 17, "params": {}, "extra": {"a": 1}, "session": "word",
        "model_id": "word", "llm": "word",
    }  # fmt: skip
    target[field] = [bad] if type(good.get(field)) is type(bad) else bad
    return json.dumps(message), f"`{path}"


def missing_field(draw: random.Random) -> tuple[str, str]:
    message = generate()
    field = draw.choice(["messages", "params"])
    del message[field]
    return json.dumps(message), f"`{field}`"


def cut_short(draw: random.Random) -> tuple[str, str]:
    text = json.dumps(generate())
    return text[: draw.randrange(len(text))], "not JSON"


def unknown_type(draw: random.Random) -> tuple[str, str]:
    name = "".join(draw.choices("abcdefgh_", k=8))
    return json.dumps({**generate(), "type": name}), f"`{name}`"


def out_of_range(draw: random.Random) -> tuple[str, str]:
    field, value = draw.choice(
        [("temperature", -1), ("top_p", 1.5), ("max_output_length", 0), ("timeout_ms", -5),
         ("seed", 0.5), ("stop_tokens", [""]), ("model_id", "")]
    )  # fmt: skip
    return json.dumps(generate(params={field: value})), f"`params.{field}"


def too_deep(draw: random.Random) -> tuple[str, str]:
    depth = draw.randrange(33, 5_000)
    return json.dumps(generate())[:-1] + ',"x":' + "[" * depth + "]" * depth + "}", "deep"


def no_object(draw: random.Random) -> tuple[str, str]:
    return json.dumps(draw.choice([[], 1, "text", None, True, [generate()]])), "`object`"


async def test_1000_malformed_messages_are_each_answered_with_what_is_wrong(dial) -> None:
    async with dial() as wire:
        await wire.load()
        for text, word in broken_messages(MALFORMED):
            answer = await wire.ask(text)
            if answer["type"] == "generate_ack":
                answer = await wire.receive()
            assert answer["is_error"] is True, text[:200]
            assert word in answer["message"], (text[:200], answer["message"])
        assert (await wire.final(generate("alive")))["response"] == "alive"


async def test_binary_noise_is_answered_too(dial) -> None:
    async with dial() as wire:
        for data in (b"\x00\xff\xfe", b'{"type":"\xff"}', b"", b'"\xed\xa0\x80"'):
            assert (await wire.ask(data))["error"] == 9
        assert (await wire.ask({"type": "status"}))["type"] == "status_done"


async def test_handshakes_that_dawdle_are_cut_and_harm_nobody(module: Module, dial) -> None:
    dawdlers = [await asyncio.open_connection("127.0.0.1", module.port) for _ in range(200)]
    for _, writer in dawdlers:
        writer.write(b"GET / HT")
    async with dial() as wire:
        assert (await wire.ask({"type": "status"}))["type"] == "status_done"
    async with asyncio.timeout(LIMIT):
        for reader, writer in dawdlers:
            assert await read_to_end(reader) == b""
            writer.close()


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_a_flood_of_connections_is_refused_and_those_inside_stay(start_module) -> None:
    module = start_module("--max-connections", "20")
    async with connect(module.url) as websocket:
        wire = Wire(websocket)
        await wire.load()
        await wire.send(counting(to=1_000_000))
        await wire.until("generate_stream_chunk")
        answers = await asyncio.gather(*(knock(module.port) for _ in range(300)))
        assert b"503" in b"".join(answers)
        assert sum(b"101" in answer for answer in answers) <= 19
        await wire.until("generate_stream_chunk")
        await wire.send({"type": "interrupt", "unique_request_id": "i"})
        assert (await wire.until("interrupt_ack"))[-1]["interrupted"] == ["g"]


async def knock(port: int) -> bytes:
    """Ask for a WebSocket and hold it until all have asked."""
    host = f"Host: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        held.append(writer)
        writer.write(f"GET / HTTP/1.1\r\n{host}{key}".encode())
        return (await reader.readline())[:12]
    except ConnectionError:  # refused, reset or aborted: by the system, before the module knew
        return b""


held: list[asyncio.StreamWriter] = []


@pytest.fixture(autouse=True)
async def _let_go():
    yield
    for writer in held:
        writer.close()
    held.clear()


class TestClientsThatNeverRead:
    async def test_64_of_them_are_cut_off_with_memory_bounded_and_others_undisturbed(
        self, start_module
    ) -> None:
        module = start_module("--stalled-seconds", "2", "--between-tokens-ms", "600000")
        deaf = [await deaf_client(module) for _ in range(IDLE_CLIENTS)]
        async with connect(module.url) as websocket:
            wire = Wire(websocket)
            await wire.load()
            before = (await wire.ask({"type": "status"}))["memory_bytes"]
            for client in deaf:
                await client.send(json.dumps(generate("x" * MEGABYTE, provider="echo")))
            peak = await self.watch(wire)
            assert (await wire.final(counting(to=20, delay_ms=1)))["error"] == "SUCCESS"
            assert peak - before < 300 * MEGABYTE
        for client in deaf:
            client.transport.abort()

    async def watch(self, wire: Wire) -> int:
        """The most memory that was held until all of them were cut off."""
        peak = 0

        def alone(status: dict[str, Any]) -> bool:
            nonlocal peak
            peak = max(peak, status["memory_bytes"])
            return status["clients"] == 1

        await wire.status_until(alone)
        return peak


async def deaf_client(module: Module) -> Any:
    """Takes nothing from its socket, which has room for little."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", module.port))
    raw.setblocking(False)
    client = await connect(module.url, sock=raw, max_queue=1, max_size=None, ping_interval=None)
    client.transport.pause_reading()
    return client


async def test_who_reads_slowly_gets_everything_in_fewer_pieces(start_module) -> None:
    """Far more than the kernel holds for it, and not so much that it is cut off."""
    words = [f"{number:0999}" for number in range(2_000)]
    module = start_module("--stalled-seconds", "3600")
    client = await deaf_client(module)
    await client.send(json.dumps({"type": "hello"}))
    await client.send(json.dumps(generate(" ".join(words), llm="echo")))
    async with connect(module.url) as websocket:
        wire = Wire(websocket)
        await wire.status_until(lambda status: status["generations"] == 1)
        await wire.status_until(lambda status: status["generations"] == 0)
    client.transport.resume_reading()
    pieces, final = [], None
    while final is None:
        message = json.loads(await asyncio.wait_for(client.recv(), LIMIT))
        if message["type"] == "generate_stream_chunk":
            pieces.append(message["chunk"])
        elif message["type"] == "generate_stream_done":
            final = message
    assert "".join(pieces) == final["response"] == " ".join(words)
    assert len(pieces) < len(words)
    await client.close()


async def test_a_message_far_over_the_limit_ends_that_connection_alone(module, dial) -> None:
    async with dial() as other:
        websocket = await connect(module.url, compression=None)
        await websocket.send("x" * (17 * MEGABYTE))
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        assert websocket.close_code == 1009
        assert (await other.ask({"type": "status"}))["type"] == "status_done"


async def test_who_pings_and_reads_no_answer_is_cut_off(module: Module, dial) -> None:
    """A masked ping of 125 bytes, over and over, with nobody at the other end of the answers."""
    ping = b"\x89\xfd\0\0\0\0" + b"x" * 125
    async with dial(module.url) as wire:
        transport = wire.websocket.transport
        transport.pause_reading()
        async with asyncio.timeout(LIMIT):
            while not transport.is_closing():
                transport.write(ping * 1000)
                while transport.get_write_buffer_size() > MEGABYTE and not transport.is_closing():
                    await asyncio.sleep(0.001)
    async with dial(module.url) as other:
        assert (await other.ask({"type": "status"}))["type"] == "status_done"


async def test_who_pings_and_reads_is_answered(dial) -> None:
    async with dial() as wire:
        for _ in range(20):
            async with asyncio.timeout(LIMIT):
                await (await wire.websocket.ping())
