"""One connection, over a real socket, with an owner that does as it is told."""

import asyncio
from functools import partial

import pytest
from plain_http import Line
from support import LIMIT

from waifu_llm.doors.http import connection, reading
from waifu_llm.doors.http.connection import Connection
from waifu_llm.doors.http.messages import Answer, Clock
from waifu_llm.doors.http.plan import Plan

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Owner:
    """Answers everything with what was sent."""

    def __init__(self):
        self.clock = Clock()
        self.stalled_seconds = 0.2
        self.heads = []
        self.why_not = None
        self.refusal = None
        self.has_token = False
        self.may_answer = asyncio.Event()
        self.ended = asyncio.Event()
        self.gone = asyncio.Event()
        self.answered = []
        self.connections = []

    def arrive(self, connection):
        self.connections.append(connection)
        return self.why_not

    def leave(self, connection):
        self.gone.set()

    def plan(self, head):
        self.heads.append(head)
        return Plan(head, 1000, self.refusal, has_token=self.has_token)

    def too_large(self, plan):
        return Answer(413, b"too large")

    async def answer(self, plan, body, reply):
        self.answered.append(plan)
        reply.headers = plan.headers
        if plan.head.path == "/held":
            await self.may_answer.wait()
        if plan.head.path == "/endless":
            await self.go_on_and_on(reply)
        if plan.refusal:
            reply.give(plan.refusal)
        elif plan.head.path == "/large":
            reply.give(Answer(body=b"x" * 5_000_000))
        elif plan.head.path == "/broken":
            reply.begin("text/plain")
        else:
            reply.give(Answer(body=body, headers={"x": "a\r\nset-cookie: b"}))

    async def go_on_and_on(self, reply):
        reply.begin("text/plain")
        reply.write(b"x" * 5_000_000)
        try:
            await self.may_answer.wait()
        finally:
            self.ended.set()


@pytest.fixture
async def owner():
    return Owner()


@pytest.fixture
async def patient(owner):
    """Cuts off nobody within a test."""
    owner.stalled_seconds = 60


@pytest.fixture
async def line(owner):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(Connection, owner), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    line = Line(*await asyncio.open_connection("127.0.0.1", port))
    yield line
    await line.close()
    server.close()


def post(body, **headers):
    lines = ["POST /a%20b?c=d HTTP/1.1", "host: x", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


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


async def test_a_request_that_does_not_end_is_given_up(line, monkeypatch):
    monkeypatch.setattr(reading, "HEAD_SECONDS", 0.05)
    line.send(GET[:-2])
    assert (await line.answer()).status == 408


async def test_a_body_that_does_not_end_is_given_up(line, monkeypatch):
    monkeypatch.setattr(reading, "BODY_SECONDS", 0.05)
    line.send(post(b"hello")[:-1])
    assert (await line.answer()).status == 408


async def test_who_says_nothing_is_not_kept(line, monkeypatch):
    monkeypatch.setattr(reading, "IDLE_SECONDS", 0.05)
    line.send(GET)
    await line.answer()
    assert await line.is_closed()


async def test_who_is_refused_is_not_kept(line, monkeypatch):
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.05)
    line.send(b"hello\r\n\r\n")
    assert (await line.answer()).status == 400
    assert await line.is_closed()


async def test_there_is_no_room(owner, monkeypatch):
    owner.why_not = "No room."
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(Connection, owner), "127.0.0.1", 0)
    line = Line(*await asyncio.open_connection(*server.sockets[0].getsockname()))
    got = await line.answer()
    assert (got.status, got.body) == (503, b"No room.\n")
    await line.close()
    server.close()


async def test_who_takes_nothing_is_cut_off(owner, line):
    line.reader._transport.pause_reading()
    line.send(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
    async with asyncio.timeout(LIMIT):
        await owner.gone.wait()


async def test_who_takes_it_gets_all(line):
    line.send(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
    assert len((await line.answer()).body) == 5_000_000


async def test_an_answer_that_is_not_finished_is_no_answer(owner, line):
    """Who reads it sees that it was cut off, and takes it for no whole one."""
    line.send(b"GET /broken HTTP/1.1\r\nhost: x\r\n\r\n")
    async with asyncio.timeout(LIMIT):
        await owner.gone.wait()


async def test_a_target_may_be_a_whole_address(owner, line):
    line.send(b"GET http://x/y?z HTTP/1.1\r\nhost: x\r\n\r\n")
    await line.answer()
    assert owner.heads[0].path == "/y"


CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("beginning", [b"0\r\nx: ", b"1;x="])
async def test_what_stands_about_a_body_has_an_end(owner, line, beginning):
    line.send(CHUNKED + beginning)
    for _ in range(20):
        line.send(b"a" * 10_000)
        await asyncio.sleep(0)
    assert (await line.answer()).status == 431


async def test_a_trailer_is_no_header(owner, line):
    line.send(CHUNKED + b"0\r\nauthorization: Bearer x\r\n\r\n" + GET)
    assert [(await line.answer()).status for _ in range(2)] == [200, 200]
    assert all("authorization" not in head.headers for head in owner.heads)


async def test_a_body_that_drips_is_given_up(line, monkeypatch):
    monkeypatch.setattr(reading, "BODY_SECONDS", 0.1)
    line.send(post(b"x" * 900)[:-900])
    answer = asyncio.create_task(line.answer())
    while not answer.done():
        line.send(b"x")
        await asyncio.sleep(0.02)
    assert answer.result().status == 408


async def test_who_asks_on_and_reads_nothing_waits(owner, patient, line):
    line.reader._transport.pause_reading()
    for _ in range(10):
        line.send(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
    async with asyncio.timeout(LIMIT):
        while not owner.answered:
            await asyncio.sleep(0)
    for _ in range(10):
        line.send(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(owner.answered) == 1
    assert not owner.connections[0].is_idle
    line.reader._transport.resume_reading()
    for _ in range(20):
        assert len((await line.answer()).body) == 5_000_000


async def test_a_last_answer_may_be_read_slowly(line):
    line.send(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    await line.head()
    taken = 0
    async with asyncio.timeout(LIMIT):
        while taken < 5_000_000:
            part = await line.reader.read(400_000)
            assert part
            taken += len(part)
            await asyncio.sleep(0.03)
    assert taken == 5_000_000


async def test_who_leaves_a_last_answer_unread_is_cut_off(owner, line):
    line.reader._transport.pause_reading()
    line.send(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    async with asyncio.timeout(LIMIT):
        await owner.gone.wait()


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


HELD = b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n"


async def until(holds):
    async with asyncio.timeout(LIMIT):
        while not holds():
            await asyncio.sleep(0)


async def test_what_comes_before_its_turn_waits_outside(owner, line):
    """Who asks on and on while we answer is not read without end, and loses nothing by that."""
    line.send(HELD)
    await until(lambda: owner.heads)
    connection = owner.connections[0]
    for _ in range(400):
        line.send(post(b"x" * 1000))
    await until(lambda: not connection.transport.is_reading())
    assert len(connection._ahead) < 400_000
    owner.may_answer.set()
    for _ in range(401):
        assert (await line.answer()).status == 200


async def test_a_great_many_requests_are_not_made_before_they_are_answered(owner, line):
    """Each costs more than the few bytes that it came in."""
    count = 20_000
    line.send(HELD + GET * count)
    most = 0
    await until(lambda: owner.heads)
    for _ in range(200):
        most = max(most, len(owner.connections[0]._read))
        await asyncio.sleep(0)
    owner.may_answer.set()
    for _ in range(count + 1):
        assert (await line.answer()).status == 200
        most = max(most, len(owner.connections[0]._read))
    assert most < 1000


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


class Transport:
    """One whose client takes nothing any more."""

    aborted = is_closed = False

    def get_extra_info(self, name):
        return ("127.0.0.1", 1) if name == "peername" else self

    def is_closing(self):
        return self.is_closed

    def get_write_buffer_size(self):
        return 10

    def abort(self):
        self.aborted = True

    def close(self):
        assert not self.is_closed
        self.is_closed = True

    def setsockopt(self, *arguments): ...
    def set_write_buffer_limits(self, **limits): ...


@pytest.mark.parametrize("were_many", [True, False])
@pytest.mark.parametrize("goes", [Connection.finish, Connection.eof_received])
async def test_a_few_last_bytes_are_watched_to_the_end_too(owner, were_many, goes, monkeypatch):
    monkeypatch.setattr(connection, "HEAD_SECONDS", 60)
    owner.stalled_seconds = 0.01
    leaving, transport = Connection(owner), Transport()
    leaving.connection_made(transport)
    if were_many:
        leaving.pause_writing()
    goes(leaving)
    if were_many:
        leaving.resume_writing()
    await until(lambda: transport.aborted)


async def test_who_goes_may_be_told_to_go(owner):
    connection, transport = Connection(owner), Transport()
    connection.connection_made(transport)
    connection.finish()
    connection.finish()
    connection.eof_received()
    connection.connection_lost(None)


async def test_who_closes_its_half_is_answered_no_more(owner, patient, line):
    """At once, even where it takes nothing of what was said before."""
    line.reader._transport.pause_reading()
    line.send(GET.replace(b"/ ", b"/endless "))
    await until(lambda: owner.connections and owner.connections[0].is_behind)
    line.writer.write_eof()
    async with asyncio.timeout(LIMIT):
        await owner.ended.wait()


async def test_who_caught_up_is_watched_no_more(owner):
    connection, transport = Connection(owner), Transport()
    connection.connection_made(transport)
    connection.pause_writing()
    connection.resume_writing()
    assert connection._watch.cancelled()
    connection.connection_lost(None)
