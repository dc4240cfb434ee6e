"""One connection, over a real socket, with an owner that does as it is told."""

import asyncio
from functools import partial

import pytest
from connection_stage import GET, HELD, post
from plain_http import Line
from support import until

from waifu_llm.doors.http import connection
from waifu_llm.doors.http.connection import Connection
from waifu_llm.doors.http.messages import Answer


async def test_a_head_is_read(owner, line):
    line.send(post(b"hello", Accept="x", accept="y"))
    got = await line.answer()
    assert got.body == b"hello"
    (head,) = owner.heads
    assert (head.method, head.path, head.query) == ("POST", "/a%20b", {"c": "d"})
    assert head.headers["accept"] == ["x", "y"]
    assert head.peer == "127.0.0.1"


async def test_a_value_adds_no_header(line):
    line.send(GET)
    got = await line.answer()
    assert "set-cookie" not in got.headers
    assert got.headers["x"] == "aset-cookie: b"


async def test_byte_by_byte_is_the_same(owner, line):
    for byte in post(b"hi"):
        line.send(bytes([byte]))
        await asyncio.sleep(0)
    assert (await line.answer()).body == b"hi"
    assert owner.heads[0].path == "/a%20b"


async def test_what_comes_at_once_is_answered_in_order(line):
    line.send(b"".join(post(str(number).encode()) for number in range(50)))
    assert [int((await line.answer()).body) for _ in range(50)] == list(range(50))


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000, 431),
        (b"GET /" + b"y" * 70_000, 431),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 129 + b"\r\n", 431),
        (post(b"x" * 1001), 413),
    ],
)
async def test_what_is_no_request_is_refused_and_the_connection_closed(line, sent, status):
    line.send(sent)
    got = await line.answer()
    assert (got.status, got.headers["connection"]) == (status, "close")


async def test_a_refusal_does_not_wait_for_the_body(owner, line):
    owner.refusal = Answer(401, b"no")
    line.send(post(b"x" * 2000)[:-500])
    assert (await line.answer()).status == 401


async def test_there_is_no_room(owner, monkeypatch):
    owner.why_not = "No room."
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(Connection, owner), "127.0.0.1", 0)
    line = Line(*await asyncio.open_connection(*server.sockets[0].getsockname()))
    got = await line.answer()
    assert (got.status, got.body) == (503, b"No room.\n")
    await line.close()
    server.close()


async def test_a_target_may_be_a_whole_address(owner, line):
    line.send(b"GET http://x/y?z HTTP/1.1\r\nhost: x\r\n\r\n")
    await line.answer()
    assert owner.heads[0].path == "/y"


async def test_rubbish_does_not_take_the_answer_before_it(line, monkeypatch):
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.05)
    line.send(GET + b"rubbish\r\n\r\n")
    assert [(await line.answer()).status for _ in range(2)] == [200, 400]
    assert await line.is_closed()


async def test_every_refusal_is_given_as_other_answers_are(owner, line):
    line.send(post(b"x" * 1001))
    assert (await line.answer()).status == 413
    (plan,) = owner.answered
    assert plan.refusal.status == 413


async def test_a_stranger_that_is_refused_sends_no_body(owner, line, monkeypatch):
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.05)
    owner.refusal = Answer(401, b"no")
    line.send(post(b"x" * 500)[:-500])
    assert (await line.answer()).status == 401
    assert await line.is_closed()


async def test_who_is_known_or_is_being_answered_is_no_stranger(owner, line):
    line.send(HELD)
    await until(lambda: owner.heads)
    connection = owner.connections[0]
    assert not connection.is_stranger
    owner.may_answer.set()
    await line.answer()
    assert connection.is_stranger
    owner.has_token = True
    line.send(GET)
    await line.answer()
    owner.has_token = False
    line.send(GET + GET[:-2])
    await line.answer()
    assert not connection.is_stranger


async def test_a_refusal_of_one_who_is_known_does_not_end_the_connection(owner, line):
    owner.has_token, owner.refusal = True, Answer(404, b"no")
    for _ in range(2):
        line.send(post(b"hello"))
        got = await line.answer()
        assert (got.status, got.headers.get("connection")) == (404, None)


async def test_nobody_is_asked_for_a_body_in_the_place_of_an_answer(line):
    line.send(GET + post(b"hello", expect="100-continue"))
    assert [(await line.answer()).status for _ in range(2)] == [200, 200]
