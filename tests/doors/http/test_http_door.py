"""The door itself: who comes in, what is taken, and what happens to who goes."""

import asyncio
import json
import re
import signal
import sys

import pytest
from support import LIMIT

from waifu_llm.client import connect as client_connect
from waifu_llm.config import Config
from waifu_llm.doors.http.helper_routes import HelperRoutes
from waifu_llm.doors.http.instruction_routes import InstructionRoutes
from waifu_llm.doors.http.opening import http_door

HELLO = [{"role": "user", "content": "hello there you"}]
CHAT = {"model": "echo/echo", "messages": HELLO}
COUNTING = {
    "model": "echo/count",
    "messages": HELLO,
    "stream": True,
    "max_tokens": 100_000,
    "extra": {"delay_ms": 5},
}
TELL_NOTHING = {("GET", "/"), ("GET", "/healthz"), ("GET", "/docs")}


def table():
    more = [*InstructionRoutes(None).routes(), *HelperRoutes(None, Config()).routes()]
    door = http_door(None, Config(), "token", dict, lambda spec: False, more)
    return door.table.routes


def filled(path):
    return re.sub(r"\{\w+\*?\}", "x", path)


@pytest.mark.parametrize("route", table(), ids=lambda route: f"{route.method} {route.path}")
async def test_every_route_needs_the_token_that_tells_anything(served, route):
    nobody = served.plain(authorization="")
    got = await nobody.ask(route.method, filled(route.path), {} if route.takes else None)
    if (route.method, route.path) in TELL_NOTHING:
        assert got.status == 200
    else:
        assert got.status == 401
        assert got.headers["www-authenticate"] == "Bearer"
        assert b"token" in got.body


async def test_what_is_not_there_is_not_told_either(served):
    assert (await served.plain(authorization="").ask("GET", "/nothing")).status == 401
    got = await served.plain().ask("GET", "/nothing")
    assert (got.status, got.json["error"]) == (404, "INVALID_MESSAGE")


async def test_another_method_is_told_which_there_are(served):
    got = await served.plain().ask("DELETE", "/v1/models")
    assert (got.status, got.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("token", ["Bearer wrong", "Basic x", "Bearer ", "Bearer x y", "wrong"])
async def test_a_wrong_token_is_refused(serve_wrong, token):
    assert (await serve_wrong.plain(authorization=token).ask("GET", "/v1/models")).status == 401


@pytest.fixture(scope="session")
def serve_wrong(serve_http):
    """Who guesses waits: not those that share a module with these tests."""
    return serve_http()


async def test_who_guesses_has_to_wait(serve_http):
    guessed = serve_http()
    for _ in range(5):
        await guessed.plain(authorization="Bearer no").ask("GET", "/v1/models")
    begun = asyncio.get_running_loop().time()
    await guessed.plain(authorization="Bearer no").ask("GET", "/v1/models")
    assert asyncio.get_running_loop().time() - begun > 0.9


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1", "127.0.0.1:1", "localhost:x"])
async def test_another_host_is_misdirected(served, host):
    for path in ("/healthz", "/v1/models"):
        assert (await served.plain(host=host).ask("GET", path)).status == 421


async def test_our_own_names_are_known(served):
    for name in ("localhost", "127.0.0.1", "[::1]"):
        plain = served.plain(host=f"{name}:{served.port}")
        assert (await plain.ask("GET", "/healthz")).status == 200


ORIGINS = ["https://evil.test", "null", "http://127.0.0.1:1", "http://localhost.evil", "file://"]


@pytest.mark.parametrize("origin", ORIGINS)
async def test_pages_from_elsewhere_get_nothing(served, origin):
    asks = {"access_control_request_method": "POST"}
    for got in (
        await served.plain(origin=origin).ask("GET", "/v1/models"),
        await served.plain(origin=origin, authorization="").ask("OPTIONS", "/v1/models", **asks),
    ):
        assert got.status == 403
        assert not any(name.startswith("access-control") for name in got.headers)


async def test_no_word_of_cors_unless_configured(served):
    got = await served.plain().ask("GET", "/healthz")
    assert not any(name.startswith("access-control") for name in got.headers)
    got = await served.plain().ask("OPTIONS", "/v1/models")
    assert got.status == 405


async def test_a_configured_origin_may_ask_with_the_token(serve_http):
    page = "https://page.test"
    ours = serve_http("--allowed-origins", page)
    asks = {
        "access_control_request_method": "POST",
        "access_control_request_headers": "authorization, content-type",
        "access_control_request_private_network": "true",
    }
    got = await ours.plain(origin=page, authorization="").ask("OPTIONS", "/v1/models", **asks)
    assert got.status == 204
    assert got.headers["access-control-allow-origin"] == page
    assert "POST" in got.headers["access-control-allow-methods"]
    assert got.headers["access-control-allow-headers"] == "authorization, content-type"
    assert got.headers["access-control-allow-private-network"] == "true"
    assert "content-length" not in got.headers
    got = await ours.plain(origin=page).ask("POST", "/v1/chat/completions", CHAT)
    assert (got.status, got.headers["access-control-allow-origin"]) == (200, page)
    got = await ours.plain(origin=page, authorization="").ask("GET", "/v1/models")
    assert (got.status, got.headers["access-control-allow-origin"]) == (401, page)
    got = await ours.plain(origin=page, authorization="Bearer no").ask("GET", "/v1/models")
    assert (got.status, got.headers["access-control-allow-origin"]) == (401, page)
    stream = {**CHAT, "stream": True}
    got = await ours.plain(origin=page).ask("POST", "/v1/chat/completions", stream)
    assert (got.status, got.headers["access-control-allow-origin"]) == (200, page)


# Bodies


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", "not JSON"),
        (b"[]", "object"),
        (b"\xff\xfe", "JSON"),
        (b'{"model": "echo/echo"}', "messages"),
        (b'{"model": 3, "messages": []}', "string"),
        (b'{"model": "echo/echo", "messages": []}', "length"),
        (b'{"model": "echo/echo", "messages": [{"role": "poet", "content": ""}]}', "poet"),
        (b'{"model":"echo/echo","messages":[{"role":"user"}]}', "content"),
        (b'{"model":"echo/echo","messages":[{"role":"tool","content":"x"}]}', "tool_call_id"),
        (b"[" * 5000, "nested"),
    ],
)
async def test_a_body_that_cannot_be_is_explained(served, body, why):
    got = await served.plain().ask("POST", "/v1/chat/completions", body)
    assert got.status == 400
    assert why in got.json["error"]["message"]


async def test_a_body_of_another_kind_is_refused(served):
    got = await served.plain().ask("POST", "/v1/chat/completions", b"{}", content_type="text/plain")
    assert got.status == 415


async def test_a_body_that_is_too_large_is_refused_before_it_is_there(served):
    line = await served.plain().connect()
    head = served.plain().request("POST", "/v1/chat/completions", b"", content_length="9000000")
    line.send(head + b"x" * 8_400_000)
    got = await line.answer()
    assert (got.status, got.headers["connection"]) == (413, "close")


async def test_who_has_no_token_does_not_fill_our_memory(served):
    nobody = served.plain(authorization="")
    line = await nobody.connect()
    line.send(nobody.request("POST", "/v1/chat/completions", b"", content_length="8000000"))
    line.send(b"x" * 100_000)
    assert (await line.answer()).status == 401


async def test_a_client_may_ask_whether_to_send_its_body(served):
    data = json.dumps(CHAT).encode()
    plain = served.plain()
    line = await plain.connect()
    asks = plain.request("POST", "/v1/chat/completions", data, expect="100-continue")
    line.send(asks[: -len(data)])
    assert (await line.head())[0] == 100
    line.send(data)
    assert (await line.answer()).status == 200
    nobody = served.plain(authorization="")
    line = await nobody.connect()
    asks = nobody.request("POST", "/v1/chat/completions", data, expect="100-continue")
    line.send(asks[: -len(data)])
    assert (await line.answer()).status == 401


async def test_a_body_may_come_in_chunks(served):
    plain = served.plain(transfer_encoding="chunked")
    line = await plain.connect()
    more = {"transfer_encoding": "chunked", "content_type": "application/json"}
    line.send(plain.request("POST", "/api/show", None, **more))
    for part in (b'{"model"', b': "mika"}'):
        line.send(b"%x\r\n%b\r\n" % (len(part), part))
    line.send(b"0\r\n\r\n")
    assert (await line.answer()).status == 200


# Connections


async def test_requests_that_come_together_are_answered_in_their_order(served):
    plain = served.plain()
    line = await plain.connect()
    slow = {**CHAT, "extra": {"first_delay_ms": 50}}
    asked = [
        plain.request("POST", "/v1/chat/completions", slow),
        plain.request("GET", "/healthz"),
        plain.request("GET", "/nothing"),
        plain.request("GET", "/healthz"),
    ]
    line.send(b"".join(asked[:3]))
    line.send(asked[3])
    assert [(await line.answer()).status for _ in asked] == [200, 200, 404, 200]


async def test_an_old_client_is_answered_without_chunks(served):
    plain = served.plain()
    line = await plain.connect()
    asked = plain.request("POST", "/v1/chat/completions", {**CHAT, "stream": True})
    line.send(asked.replace(b"HTTP/1.1", b"HTTP/1.0"))
    status, headers = await line.head()
    assert (status, headers["connection"]) == (200, "close")
    assert "transfer-encoding" not in headers
    assert (await line.reader.read(-1)).endswith(b"data: [DONE]\n\n")


async def test_what_asks_for_another_protocol_is_answered_in_this_one(served):
    plain = served.plain()
    got = await plain.ask("GET", "/healthz", connection="upgrade", upgrade="h2c")
    assert (got.status, got.headers["connection"]) == (200, "close")


async def generations(served):
    status = await served.plain().ask("GET", "/status")
    return status.json["generations"]


async def until_none_runs(served):
    async with asyncio.timeout(LIMIT):
        while await generations(served):
            await asyncio.sleep(0)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
async def test_who_goes_interrupts_what_it_asked_for(served, path):
    plain = served.plain()
    line = await plain.connect()
    options = {"options": {"num_predict": 100_000}, "model": "endless"} if "api" in path else {}
    line.send(plain.request("POST", path, {**COUNTING, **options}))
    assert (await line.head())[0] == 200
    await line.chunk()
    assert await generations(served) == 1
    line.writer.transport.abort()
    await until_none_runs(served)


async def test_who_goes_before_the_first_word_interrupts_too(served):
    plain = served.plain()
    for stream in (True, False):
        line = await plain.connect()
        asked = {**COUNTING, "stream": stream, "extra": {"first_delay_ms": 60_000}}
        line.send(plain.request("POST", "/v1/chat/completions", asked))
        async with asyncio.timeout(LIMIT):
            while not await generations(served):
                await asyncio.sleep(0)
        line.writer.transport.abort()
        await until_none_runs(served)
    figures = (await plain.ask("GET", "/metrics")).body.decode()
    assert re.search(r"http_requests_total{.*chat/completions.*499", figures)


async def test_a_session_is_interrupted_from_the_other_door(served):
    plain = served.plain()
    line = await plain.connect()
    line.send(plain.request("POST", "/v1/chat/completions", {**COUNTING, "session": "show"}))
    await line.head()
    await line.chunk()
    async with client_connect(served.module.url) as client:
        await client.interrupt(session="show")
    said = b"".join([part async for part in line.chunks()])
    assert b'"code":"interrupt"' in said
    assert b"[DONE]" not in said


async def test_who_reads_nothing_slows_nobody_and_is_cut_off(serve_http):
    """Its stream is larger than all buffers between us."""
    ours = serve_http("--stalled-seconds", "1")
    plain = ours.plain()
    line = await plain.connect()
    flood = {**COUNTING, "max_tokens": 1_000_000, "extra": {}}
    line.reader._transport.pause_reading()
    line.send(plain.request("POST", "/v1/chat/completions", flood))
    async with asyncio.timeout(LIMIT):
        while not await generations(ours):
            await asyncio.sleep(0)
    got = await plain.ask("POST", "/v1/chat/completions", CHAT)
    assert got.json["choices"][0]["message"]["content"] == "hello there you"
    await until_none_runs(ours)
    line.writer.transport.abort()


async def test_who_reads_slowly_gets_all_of_it(served):
    plain = served.plain()
    line = await plain.connect()
    asked = {**COUNTING, "max_tokens": 60_000, "extra": {}}
    line.send(plain.request("POST", "/v1/chat/completions", asked))
    line.reader._transport.pause_reading()
    async with asyncio.timeout(LIMIT):
        while await generations(served):
            await asyncio.sleep(0.01)
    line.reader._transport.resume_reading()
    said = (await line.answer()).body
    assert said.endswith(b"data: [DONE]\n\n")
    assert b" 60000" in said


async def test_what_is_loaded_stays_for_the_next(served):
    plain = served.plain()
    await plain.ask("POST", "/v1/chat/completions", CHAT)
    before = (await plain.ask("GET", "/status")).json["loads"]
    await plain.ask("POST", "/v1/chat/completions", CHAT)
    after = (await plain.ask("GET", "/status")).json["loads"]
    assert [each["pid"] for each in before] == [each["pid"] for each in after]


async def test_too_many_connections_are_told_so(serve_http):
    ours = serve_http("--max-connections", "2")
    plain = ours.plain()
    busy = [await plain.connect() for _ in range(2)]
    for line in busy:
        line.send(plain.request("POST", "/v1/chat/completions", COUNTING))
        await line.head()
    assert (await plain.ask("GET", "/healthz")).status == 503


async def test_strangers_do_not_take_every_connection(serve_http):
    ours = serve_http("--max-connections", "2")
    nobody = ours.plain(authorization="")
    for _ in range(3):
        line = await nobody.connect()
        line.send(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert (await ours.plain().ask("GET", "/healthz")).status == 200


async def test_a_refusal_before_the_body_waits_and_counts_too(serve_http):
    guessed = serve_http()
    asks = {"expect": "100-continue", "content_length": "5"}
    plain = guessed.plain(authorization="Bearer no")
    for _ in range(6):
        begun = asyncio.get_running_loop().time()
        line = await plain.connect()
        line.send(plain.request("POST", "/v1/chat/completions", b"", **asks))
        assert (await line.answer()).status == 401
    assert asyncio.get_running_loop().time() - begun > 0.9
    figures = (await guessed.plain().ask("GET", "/metrics")).body.decode()
    assert re.search(r"http_requests_total{.*chat/completions.*401.*} 6", figures)


async def test_one_that_asks_for_nothing_gives_way(serve_http):
    ours = serve_http("--max-connections", "1")
    plain = ours.plain()
    idle = await plain.connect()
    idle.send(plain.request("GET", "/healthz"))
    await idle.answer()
    assert (await plain.ask("GET", "/healthz")).status == 200
    assert await idle.is_closed()


# Its end


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
async def test_all_have_their_end_when_the_module_closes(serve_http):
    ours = serve_http()
    plain = ours.plain()
    streamed, waiting = await plain.connect(), await plain.connect()
    streamed.send(plain.request("POST", "/v1/chat/completions", COUNTING))
    await streamed.head()
    await streamed.chunk()
    slow = {**CHAT, "extra": {"first_delay_ms": 60_000}}
    waiting.send(plain.request("POST", "/v1/chat/completions", slow))
    async with asyncio.timeout(LIMIT):
        while await generations(ours) < 2:
            await asyncio.sleep(0)
    ours.module.process.send_signal(signal.SIGTERM)
    said = b"".join([part async for part in streamed.chunks()])
    assert b"shutting down" in said
    got = await waiting.answer()
    assert (got.status, got.headers["connection"]) == (503, "close")
    assert ours.module.wait() == 0


def test_without_the_setting_there_is_no_door(start_module):
    assert start_module().output.get(timeout=LIMIT).startswith("Try it")
