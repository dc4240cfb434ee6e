"""Who comes in, and who does not: over real handshakes, and the rules one by one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support import Wire, generate
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.protocol import State

from waifu_llm.config import Config
from waifu_llm.doors.trust import Gate, Refused, Verdict, Visitor

ALLOWED = "https://overlay.example"
PORT = 7562
LONGER = b"Host: 127.0.0.1:7562.evil.example\r\n"


@pytest.fixture(scope="module")
def guarded(start_module):
    return start_module("--allowed-origins", ALLOWED, "--allowed-hosts", "waifu.local:9")


@pytest.fixture
def token(home: Path) -> str:
    return (home / "token").read_text().strip()


async def status_of(url: str, **headers: str) -> int:
    """The HTTP status that a handshake with these headers gets; 101 is a way in."""
    host = headers.pop("Host", None)
    origin = headers.pop("Origin", None)
    try:
        options: dict[str, Any] = {"additional_headers": headers, "origin": origin}
        async with connect(url, **options) if host is None else _with_host(url, host, options):
            return 101
    except InvalidStatus as exc:
        return exc.response.status_code


def _with_host(url: str, host: str, options: dict[str, Any]) -> connect:
    """websockets takes the Host from the URL; the address to dial is given beside it."""
    address, _, port = url.removeprefix("ws://").rpartition(":")
    return connect(f"ws://{host}/", host=address, port=int(port), **options)


class TestOrigins:
    @pytest.mark.parametrize(
        "origin",
        [
            "null",
            "http://evil.example",
            "http://localhost.evil.example",
            "http://127.0.0.1:7562.evil.example",
            "http://127.0.0.1.nip.io",
            "http://localhost",
            "http://localhost:1",
            "https://OVERLAY.example",
            "https://overlay.example:8443",
            "http://overlay.example",
            "https://overlay.example.evil.example",
            "http://absolute",
            "chrome-extension://abcdefghijklmnop",
            "file://",
        ],
    )
    async def test_a_foreign_one_is_refused(self, guarded, token, origin: str) -> None:
        bearer = {"Authorization": f"Bearer {token}"}
        assert await status_of(guarded.url, Origin=origin) == 403
        assert await status_of(guarded.url, Origin=origin, **bearer) == 403

    async def test_a_configured_one_may_knock(self, guarded) -> None:
        assert await status_of(guarded.url, Origin=ALLOWED) == 101

    async def test_the_modules_own_may_knock(self, guarded) -> None:
        assert await status_of(guarded.url, Origin=f"http://127.0.0.1:{guarded.port}") == 101

    async def test_two_at_once_are_refused(self) -> None:
        visitor = visit(origin=[ALLOWED, ALLOWED])
        with pytest.raises(Refused):
            gate(allowed_origins=(ALLOWED,)).authorize(visitor)


class TestHosts:
    @pytest.mark.parametrize(
        "host",
        [
            "evil.example:{port}",
            "localhost",
            "127.0.0.1:1",
            "127.0.0.1",
            "localhost.evil.example:{port}",
            "0.0.0.0:{port}",
            "127.0.0.2:{port}",
            "[::]:{port}",
        ],
    )
    async def test_another_is_refused(self, guarded, host: str) -> None:
        assert await status_of(guarded.url, Host=host.format(port=guarded.port)) == 421

    @pytest.mark.parametrize("host", ["127.0.0.1:{port}", "LocalHost:{port}", "waifu.local:9"])
    async def test_our_own_and_configured_ones_are_taken(self, guarded, host: str) -> None:
        assert await status_of(guarded.url, Host=host.format(port=guarded.port)) == 101

    @pytest.mark.parametrize(
        "line", [b"", b"Host: a/b\r\n", b"Host: a?b\r\n", b"Host:\r\n", LONGER]
    )
    async def test_a_missing_or_mangled_one_is_refused(self, guarded, line: bytes) -> None:
        assert await raw_status(guarded.port, line) == 421

    async def test_two_are_refused(self, guarded) -> None:
        own = f"Host: 127.0.0.1:{guarded.port}\r\n".encode()
        assert await raw_status(guarded.port, own + own) == 421


async def raw_status(port: int, host_lines: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = b"GET / HTTP/1.1\r\n" + host_lines + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    writer.write(request + key)
    status = int((await reader.readline()).split()[1])
    writer.close()
    await writer.wait_closed()
    return status


class TestTokens:
    async def test_a_browser_says_hello_with_it_first(self, guarded, token) -> None:
        async with connect(guarded.url, origin=ALLOWED) as websocket:
            wire = Wire(websocket)
            assert (await wire.ask(generate()))["error"] == 21
            assert (await wire.ask({"type": "close"}))["error"] == 21
            assert (await wire.ask({"type": "hello", "token": "wrong"}))["error"] == "FORBIDDEN"
            done = await wire.ask({"type": "hello", "token": token})
            assert (done["type"], done["error"]) == ("hello_done", "SUCCESS")
            assert (await wire.final(generate("hi", provider="echo")))["response"] == "hi"

    async def test_a_browser_may_not_close_the_module(self, guarded, token) -> None:
        async with connect(guarded.url, origin=ALLOWED) as websocket:
            wire = Wire(websocket)
            await wire.ask({"type": "hello", "token": token})
            refused = await wire.ask({"type": "close"})
            assert (refused["type"], refused["error"]) == ("error", "FORBIDDEN")
            assert (await wire.ask({"type": "status"}))["type"] == "status_done"

    async def test_who_brings_none_is_sent_away_and_told_why(self, guarded) -> None:
        async with connect(guarded.url, origin=ALLOWED) as websocket:
            with pytest.raises(ConnectionClosed) as raised:
                await websocket.recv()
            assert raised.value.rcvd is not None
            assert raised.value.rcvd.code == 1008

    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Mode": "websocket"},
            {"X-Forwarded-For": "10.0.0.1"},
            {"Forwarded": "for=10.0.0.1"},
            {"X-Real-IP": "10.0.0.1"},
            {"Via": "1.1 proxy"},
        ],
    )
    async def test_a_sign_of_a_browser_or_a_proxy_needs_it(self, guarded, headers) -> None:
        async with connect(guarded.url, additional_headers=headers) as websocket:
            assert (await Wire(websocket).ask({"type": "status"}))["error"] == 21

    async def test_it_may_come_in_a_header(self, guarded, token) -> None:
        headers = {"Via": "1.1 proxy", "Authorization": f"Bearer {token}"}
        async with connect(guarded.url, additional_headers=headers) as websocket:
            assert (await Wire(websocket).ask({"type": "status"}))["type"] == "status_done"

    async def test_a_wrong_one_in_a_header_is_refused(self, guarded) -> None:
        assert await status_of(guarded.url, Authorization="Bearer wrong") == 401

    @pytest.mark.parametrize("flag", ["--require-token", "--behind-proxy"])
    async def test_everyone_needs_it_when_so_configured(self, start_module, token, flag) -> None:
        module = start_module(flag)
        async with connect(module.url) as websocket:
            wire = Wire(websocket)
            assert (await wire.ask({"type": "status"}))["error"] == 21
            assert (await wire.ask({"type": "hello", "token": token}))["error"] == "SUCCESS"

    async def test_only_so_many_may_wait_without_it(self, start_module) -> None:
        module = start_module("--allowed-origins", ALLOWED, "--max-unauthorized", "1")
        in_time = False
        while not in_time:  # who waits too long is sent away, and makes room
            async with connect(module.url, origin=ALLOWED) as waiting:
                another = await status_of(module.url, Origin=ALLOWED)
                native = await status_of(module.url)
                in_time = waiting.state is State.OPEN
        assert (another, native) == (503, 101)


def gate(token: str = "secret-token", **settings: Any) -> Gate:
    return Gate(Config(**settings), token, PORT)


def visit(peer: str = "127.0.0.1", websocket: bool = True, **headers: Any) -> Visitor:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    listed = {name: value if isinstance(value, list) else [value] for name, value in named.items()}
    return Visitor(peer, {"host": [f"127.0.0.1:{PORT}"], **listed}, websocket)


class TestGate:
    @pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
    def test_a_native_websocket_of_this_machine_is_let_in(self, peer: str) -> None:
        assert gate().authorize(visit(peer)) is Verdict.LET_IN

    @pytest.mark.parametrize(
        "visitor",
        [
            visit("192.168.1.5"),
            visit("::ffff:10.0.0.1"),
            visit("nonsense"),
            visit(websocket=False),
            visit(x_forwarded_for="127.0.0.1"),
        ],
    )
    def test_anyone_else_needs_the_token(self, visitor: Visitor) -> None:
        assert gate().authorize(visitor) is Verdict.NEEDS_TOKEN

    @pytest.mark.parametrize("value", ["Bearer secret-token", "bearer  secret-token "])
    def test_with_the_token_anyone_is_let_in(self, value: str) -> None:
        visitor = visit("192.168.1.5", authorization=value)
        assert gate().authorize(visitor) is Verdict.HAS_TOKEN

    @pytest.mark.parametrize("value", ["secret-token", "Basic secret-token", "Bearer", "Bearer ж"])
    def test_another_word_is_not_the_token(self, value: str) -> None:
        with pytest.raises(Refused) as refused:
            gate().authorize(visit(authorization=value))
        assert refused.value.status == 401

    def test_who_guesses_wrong_five_times_waits_from_then_on(self) -> None:
        guarded = gate()
        for _ in range(4):
            guarded.is_token("guess", "127.0.0.1")
        assert guarded.penalty("127.0.0.1") == 0
        guarded.is_token("guess", "127.0.0.1")
        assert guarded.penalty("127.0.0.1") == 1
        assert guarded.penalty("127.0.0.2") == 0

    def test_the_address_that_it_listens_at_is_a_host_of_ours(self) -> None:
        visitor = visit(host=["192.168.1.5:7562"])
        assert gate(host="192.168.1.5").authorize(visitor) is Verdict.LET_IN
        with pytest.raises(Refused):
            gate().authorize(visitor)

    @pytest.mark.parametrize(
        ("visitor", "may"),
        [
            (visit(), True),
            (visit(origin=f"http://127.0.0.1:{PORT}"), False),
            (visit("192.168.1.5"), False),
            (visit(via="1.1 proxy"), False),
        ],
    )
    def test_closing_is_for_native_clients_of_this_machine(self, visitor, may: bool) -> None:
        assert gate().may_close(visitor) is may
        assert gate(allow_remote_close=True).may_close(visitor) is True
