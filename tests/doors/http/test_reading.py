"""What a client sends, read without a socket."""

import pytest

from waifu_llm.doors.http.messages import Answer
from waifu_llm.doors.http.plan import Plan
from waifu_llm.doors.http.reading import (
    BODY_SECONDS,
    HEAD_SECONDS,
    IDLE_SECONDS,
    SLOWEST_BODY,
    Reader,
)

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
MUCH = b"x" * 40_000
"""Of which two are more than a head may have."""


class Taker:
    """Remembers."""

    peer = "127.0.0.1"

    def __init__(self):
        self.taken = []
        self.refused = []
        self.waits = []
        self.limit = 10**6

    def plan(self, head):
        return Plan(head, self.limit)

    def too_large(self, plan):
        return Answer(413)

    def take(self, plan, body):
        self.taken.append((plan.head, body))

    def take_refused(self, plan, answer):
        self.refused.append(answer.status)

    def wait(self, seconds):
        self.waits.append(seconds)


@pytest.fixture
def taker():
    return Taker()


@pytest.fixture
def reader(taker):
    return Reader(taker)


def post(length):
    return b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % length


@pytest.mark.parametrize(
    "parts",
    [
        (CHUNKED + b"0\r\nx: ", MUCH + b"\r\n\r\n", GET[:-2] + b"x: " + MUCH, b"\r\n\r\n"),
        (CHUNKED[:-2] + b"x: ", MUCH + b"\r\n\r\n", b"1;x=" + MUCH, b"\r\nx\r\n0\r\n\r\n"),
        (CHUNKED + b"1;x=", MUCH + b"\r\nx\r\n", b"0\r\nx: " + MUCH, b"\r\n\r\n"),
    ],
    ids=["a trailer and a head", "a head and an extension", "an extension and a trailer"],
)
def test_each_thing_that_has_a_bound_has_all_of_it(reader, taker, parts):
    for part in parts:
        reader.feed(part)
    assert taker.refused == []
    assert taker.taken


def test_a_body_that_goes_on_has_more_time_and_the_next_one_its_own(reader, taker):
    reader.feed(post(SLOWEST_BODY + 1))
    assert taker.waits == [HEAD_SECONDS, BODY_SECONDS]
    reader.feed(b"x")
    assert len(taker.waits) == 2
    reader.feed(b"x" * (SLOWEST_BODY - 1))
    assert taker.waits[2:] == [BODY_SECONDS]
    reader.feed(b"x")
    reader.feed(post(5))
    assert taker.waits[3:] == [HEAD_SECONDS, BODY_SECONDS]


def test_patience_is_for_who_asks_for_nothing(reader):
    assert reader.patience == IDLE_SECONDS
    reader.feed(GET[:-2])
    assert reader.patience == BODY_SECONDS


def test_one_request_is_refused_once(reader, taker):
    taker.limit = 10
    reader.feed(CHUNKED + b"14\r\n" + b"x" * 30)
    assert taker.refused == [413]
    assert reader.is_over


def test_after_what_is_no_http_nothing_is_read(reader, taker):
    reader.feed(GET[:-2] + b"connection: upgrade\r\nupgrade: h2c\r\n\r\nrubbish")
    assert reader.is_over
    assert len(taker.taken) == 1
    assert taker.refused == []
