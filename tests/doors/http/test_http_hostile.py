"""Requests that are not what they seem, and connections that are not used as they should be."""

import asyncio
import ssl

import pytest
from support import LIMIT
from test_http_door import COUNTING, until_none_runs
from test_http_outside import certificate  # noqa: F401  # a fixture

from waifu_llm.config import Config
from waifu_llm.doors.http import server
from waifu_llm.doors.tls import tls_context

GET = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n\r\n"
UNCODED = "Of transfer codings only `chunked` is taken: send the body as it is."
ELSEWHERE = "This is the HTTP port. The WebSocket is at another one: 7562, or what `port` says."


async def test_the_host_of_a_whole_address_counts_for_more(served):
    plain = served.plain()
    own = f"http://127.0.0.1:{served.port}"
    assert (await plain.ask("GET", f"{own}/v1/models")).status == 200
    assert (await plain.ask("GET", "http://evil.test/v1/models")).status == 421
    assert (await served.plain(host="evil.test").ask("GET", f"{own}/healthz")).status == 200


async def test_targets_that_are_no_path_lead_nowhere(served):
    for method, target in (("CONNECT", "127.0.0.1:443"), ("OPTIONS", "*")):
        assert (await served.plain().ask(method, target)).status == 404


async def test_a_body_that_was_made_smaller_is_not_guessed_at(served):
    plain = served.plain(**{"transfer-encoding": "gzip, chunked"})
    line = await plain.connect()
    line.send(plain.request("POST", "/api/show") + b"2\r\n{}\r\n0\r\n\r\n")
    got = await line.answer()
    assert (got.status, got.json["error"]) == (501, UNCODED)


async def test_who_opens_a_websocket_here_is_told_where_it_is(served):
    upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec_websocket_version": "13"}
    got = await served.plain(authorization="").ask("GET", "/", **upgrade)
    assert (got.status, got.json["error"]) == (404, ELSEWHERE)


async def test_who_closes_its_half_goes(served):
    """Of one who closes both nothing else is heard."""
    plain = served.plain()
    line = await plain.connect()
    line.send(plain.request("POST", "/v1/chat/completions", COUNTING))
    await line.head()
    await line.chunk()
    line.writer.write_eof()
    await until_none_runs(served)


async def test_who_closes_its_half_after_a_quick_question_is_answered(served):
    line = await served.plain(authorization="").connect()
    line.send(GET % served.port)
    line.writer.write_eof()
    assert (await line.answer()).status == 200


# TLS


@pytest.fixture
async def outside(certificate, monkeypatch):  # noqa: F811
    """A door with a certificate, and no patience."""
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.2)
    cert, key = certificate
    door = server.HttpDoor(Config(http_port=0, tls_cert=cert, tls_key=key), "token", [])
    port = await door.open()
    await door.let_in()
    yield port, ssl.create_default_context(cafile=cert)
    await door.close()  # some are leaving by then
    assert not door.connections


async def connect(port, context=None):
    name = "127.0.0.1" if context else None
    async with asyncio.timeout(LIMIT):
        return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)


async def closed(reader):
    async with asyncio.timeout(LIMIT):
        try:
            return await reader.read() == b""
        except ConnectionError:
            return True


async def test_who_begins_a_handshake_and_never_ends_it_is_not_kept(outside, caplog):
    port, context = outside
    silent = [await connect(port) for _ in range(50)]
    for number, (_, writer) in enumerate(silent):
        writer.write(b"\x16\x03\x01\x02\x00"[: number % 6])
    reader, writer = await connect(port, context)
    writer.write(GET % port)
    assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()
    assert all([await closed(reader) for reader, _ in silent])
    for _, each in silent:
        each.close()
    assert not caplog.records


async def test_no_handshake_is_begun_again_within_a_connection(certificate):  # noqa: F811
    cert, key = certificate
    assert tls_context(Config(tls_cert=cert, tls_key=key)).options & ssl.OP_NO_RENEGOTIATION


async def test_who_speaks_no_tls_there_is_hung_up_on(outside, caplog):
    port, _ = outside
    reader, writer = await connect(port)
    writer.write(GET % port)
    async with asyncio.timeout(LIMIT):
        assert b"HTTP" not in await reader.read()
    writer.close()
    assert not caplog.records


async def test_a_body_may_come_byte_by_byte_over_tls(outside):
    port, context = outside
    reader, writer = await connect(port, context)
    for byte in GET % port:
        writer.write(bytes([byte]))
        await writer.drain()
    assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()
