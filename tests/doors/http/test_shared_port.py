"""One port for the WebSocket and for HTTP."""

import asyncio
import socket

import pytest
from guest_stage import Shop
from plain_http import OPEN, Line
from support import until
from websockets.asyncio.client import connect

from waifu_llm.client import connect as client_connect
from waifu_llm.doors import shared
from waifu_llm.doors.shared import wants_websocket
from waifu_llm.doors.websocket import WebSocketDoor
from waifu_llm.jobs.runner import Jobs
from waifu_llm.jobs.shelf import Shelf

HANDSHAKE = b"GET / HTTP/1.1\r\nhost: x\r\nUpgrade: WebSocket\r\nconnection: upgrade\r\n\r\n"


@pytest.fixture(scope="session")
def one_port(serve_http):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return serve_http("--port", port, "--http-port", port)


def test_a_handshake_is_told_once_it_is_whole():
    for length in range(len(HANDSHAKE)):
        assert wants_websocket(HANDSHAKE[:length]) is None
    assert wants_websocket(HANDSHAKE)


def test_it_is_told_alike_however_much_was_seen_before():
    for length in range(len(HANDSHAKE)):
        assert wants_websocket(HANDSHAKE, length)


def test_what_was_seen_is_not_searched_again():
    """Else who sends a long head byte by byte would have it read through each time."""
    assert wants_websocket(HANDSHAKE + b"x" * 10, len(HANDSHAKE) + 10) is None


@pytest.mark.parametrize(
    "first",
    [
        b"POST ",
        b"P",
        b"ET",
        b"GE T",
        b"\x16\x03\x01",
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nupgrade: h2c\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: y\r\n\r\nupgrade: websocket\r\n",
        b"GET /" + b"x" * 70_000,
    ],
)
def test_all_else_is_for_the_other_door(first):
    assert wants_websocket(first) is False


async def test_both_doors_are_at_one_port(one_port):
    assert one_port.url.rpartition(":")[2] == one_port.module.url.rpartition(":")[2]
    async with client_connect(one_port.module.url) as client:
        await client.load("echo")
        assert (await client.status())["clients"] == 1
    plain = one_port.plain()
    assert (await plain.ask("GET", "/healthz")).status == 200
    asked = {"model": "echo/echo", "messages": [{"role": "user", "content": "hello"}]}
    got = await plain.ask("POST", "/v1/chat/completions", asked)
    assert got.json["choices"][0]["message"]["content"] == "hello"


async def test_a_handshake_may_come_in_pieces(one_port):
    line = await one_port.plain().connect()
    head = (
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{one_port.port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    ).encode()
    for part in (head[:3], head[3:50], head[50:]):
        line.send(part)
        await line.writer.drain()
        await asyncio.sleep(0)
    assert (await line.head())[0] == 101


async def test_one_connection_stays_with_its_door(one_port):
    plain = one_port.plain()
    line = await plain.connect()
    for _ in range(2):
        line.send(plain.request("GET", "/healthz"))
        assert (await line.answer()).status == 200


async def test_pages_from_elsewhere_come_in_by_neither(one_port):
    got = await one_port.plain(origin="https://evil.test").ask("GET", "/healthz")
    assert got.status == 403
    with pytest.raises(Exception, match="403"):
        async with connect(one_port.module.url, origin="https://evil.test"):
            pass


@pytest.fixture
async def door():
    shop = Shop()
    engine = shop.engine(port=0)
    jobs = Jobs(engine, engine.config, Shelf(shop.home))
    door = WebSocketDoor(engine, jobs, engine.config, "token", lambda: None)
    door.other = asyncio.Protocol
    yield door
    await door.close()


async def silent(door):
    """Somebody who comes and says nothing."""
    port = await door.open()
    await door.let_in()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await until(lambda: door._lobby.everyone())
    OPEN.append(Line(reader, writer))
    return reader


async def test_who_does_not_say_what_it_wants_is_not_kept(door, monkeypatch):
    monkeypatch.setattr(shared, "DECIDE_SECONDS", 0.01)
    reader = await silent(door)
    assert await reader.read() == b""


async def test_who_has_not_said_what_it_wants_is_sent_away_at_the_end(door):
    reader = await silent(door)
    await door.close()
    assert await reader.read() == b""


async def test_both_doors_close(serve_http):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    ours = serve_http("--port", port, "--http-port", port)
    line = await ours.plain().connect()
    line.send(ours.plain().request("GET", "/healthz"))
    await line.answer()
    async with client_connect(ours.module.url) as client:
        await client.close_module()
        assert await asyncio.to_thread(ours.module.wait) == 0
    assert await line.is_closed()
