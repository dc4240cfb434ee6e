"""How much one connection may send, how slowly, and how far ahead."""

import asyncio

import pytest
from connection_stage import GET, HELD, post
from support import LIMIT, until

from waifu_llm.doors.http import reading

CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


async def test_a_request_that_does_not_end_is_given_up(line, monkeypatch):
    monkeypatch.setattr(reading, "HEAD_SECONDS", 0.05)
    line.send(GET[:-2])
    assert (await line.answer()).status == 408


async def test_a_body_that_does_not_end_is_given_up(line, monkeypatch):
    monkeypatch.setattr(reading, "BODY_SECONDS", 0.05)
    line.send(post(b"hello")[:-1])
    assert (await line.answer()).status == 408


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
