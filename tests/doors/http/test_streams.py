"""A generation as it is written, with a line that keeps up or does not."""

import asyncio

import pytest

from waifu_llm.conversation import Timing
from waifu_llm.doors.frames import TOO_MUCH
from waifu_llm.doors.http import streams
from waifu_llm.doors.http.messages import Clock, Head
from waifu_llm.doors.http.reply import Reply
from waifu_llm.doors.http.streams import Stream
from waifu_llm.errors import Interrupted, Unavailable
from waifu_llm.gathered import LARGEST_PART
from waifu_llm.generation import Final


class Line:
    """A connection that remembers what was written."""

    def __init__(self):
        self.is_behind = False
        self.on_writable = None
        self.writes = []
        self.aborted = False

    def write(self, data):
        self.writes.append(data)

    def abort(self):
        self.aborted = True


class Words:
    """So plain that a test can read them."""

    media_type = "text/plain"
    sign_of_life = b"[alive]"
    tells_thoughts = True

    def opening(self):
        return b"<"

    def piece(self, kind, text):
        return f"[{kind[0]}:{text}]".encode()

    def closing(self, final):
        return b">"

    def failure(self, error):
        return f"[failed:{error.code}]".encode()


@pytest.fixture
async def line():
    return Line()


@pytest.fixture
async def stream(line):
    head = Head("POST", "/", {}, "", takes_chunks=False)
    return Stream(line, Reply(line, head, Clock()), Words())


def final(error=None, reason="stop"):
    return Final("", reason, "echo", "echo", Timing(0, 0, 0), error)


def said(line):
    return b"".join(line.writes).partition(b"\r\n\r\n")[2].decode()


async def test_what_comes_in_one_read_is_one_piece_and_one_write(stream, line):
    stream.chunk("one ")
    stream.chunk("two")
    assert line.writes == []
    stream.flush()
    assert len(line.writes) == 1
    assert said(line) == "<[s:one two]"


async def test_thoughts_and_speech_keep_their_order(stream, line):
    stream.reasoning("hm")
    stream.chunk("yes")
    stream.reasoning("ah")
    stream.flush()
    assert said(line) == "<[t:hm][s:yes][t:ah]"


async def test_who_is_behind_gets_one_piece_when_it_caught_up(stream, line):
    line.is_behind = True
    for _ in range(100):
        stream.chunk("x")
        stream.flush()
    assert line.writes == []
    line.is_behind = False
    line.on_writable()
    assert said(line) == f"<[s:{'x' * 100}]"
    assert len(line.writes) == 1


async def test_the_end_waits_for_who_is_behind(stream, line):
    stream.chunk("x")
    line.is_behind = True
    stream.final(final())
    stream.flush()
    assert not stream.over.done()
    line.is_behind = False
    line.on_writable()
    assert stream.over.done()
    assert said(line) == "<[s:x]>"


async def test_what_gathers_has_an_end(stream, line):
    line.is_behind = True
    stream.chunk("x" * TOO_MUCH)
    assert not line.aborted
    stream.chunk("x")
    assert line.aborted


async def test_no_piece_is_larger_than_clients_take(stream, line):
    stream.chunk("x" * (LARGEST_PART + 1))
    stream.flush()
    assert said(line) == f"<[s:{'x' * LARGEST_PART}][s:x]"


async def test_after_an_interrupt_nothing_is_said_that_was_not_said_yet(stream, line):
    stream.chunk("one")
    stream.flush()
    stream.chunk("two")
    stream.final(final(Interrupted("why"), "interrupt"))
    stream.flush()
    assert said(line) == "<[s:one][failed:INTERRUPT]"


async def test_an_error_before_a_word_is_for_who_waits_to_tell(stream, line):
    stream.final(final(Unavailable("why"), "error"))
    stream.flush()
    assert stream.over.done()
    assert isinstance(stream.error, Unavailable)
    assert line.writes == []


async def test_an_error_after_a_word_is_told_in_the_stream(stream, line):
    stream.chunk("one")
    stream.final(final(Unavailable("why"), "error"))
    stream.flush()
    assert said(line) == "<[s:one][failed:UNAVAILABLE]"


async def test_who_waits_long_is_shown_that_we_are_there(line, monkeypatch):
    monkeypatch.setattr(streams, "QUIET_SECONDS", 0.01)
    head = Head("POST", "/", {}, "", takes_chunks=False)
    stream = Stream(line, Reply(line, head, Clock()), Words())
    while not said(line).startswith("<[alive]"):
        await asyncio.sleep(0.001)
    stream.final(final(Unavailable("why"), "error"))
    stream.flush()
    assert said(line).endswith("[failed:UNAVAILABLE]")
