"""Who goes, who is slow, and who takes nothing, over a real socket."""

import asyncio

import pytest
from connection_stage import GET
from support import LIMIT, until

from waifu_llm.doors.http import connection, reading
from waifu_llm.doors.http.connection import Connection


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

    def write(self, data): ...
    def setsockopt(self, *arguments): ...
    def set_write_buffer_limits(self, **limits): ...


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


@pytest.mark.parametrize("goes", [Connection.finish, Connection.eof_received])
async def test_what_was_asked_before_one_went_is_not_begun_afterwards(owner, goes):
    """Who takes more of one answer then is not given another."""
    leaving = Connection(owner)
    leaving.connection_made(Transport())
    leaving.data_received(GET + GET)
    leaving.pause_writing()
    await until(lambda: leaving.on_writable)
    goes(leaving)
    leaving.resume_writing()
    await asyncio.sleep(0.01)
    assert len(owner.answered) == 1
    leaving.connection_lost(None)


async def test_who_caught_up_is_watched_no_more(owner):
    connection, transport = Connection(owner), Transport()
    connection.connection_made(transport)
    connection.pause_writing()
    connection.resume_writing()
    assert connection._watch.cancelled()
    connection.connection_lost(None)
