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
        assert head.path
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
    assert reader.patience == HEAD_SECONDS
    reader.feed(b"content-length: 5\r\n\r\n")
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


POST = b"POST / HTTP/1.1\r\nhost: x\r\n"
UPGRADE = b"connection: upgrade\r\nupgrade: h2c\r\n"
BODY = b"5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(
    "sent",
    [b"content-length: 5\r\n\r\nhello", b"transfer-encoding: chunked\r\n\r\n" + BODY],
)
def test_who_would_rather_speak_http_2_is_read_to_the_end_of_the_body(reader, taker, sent, size):
    """Java's client asks so of every server that it does not know yet."""
    sent = POST + UPGRADE + sent + GET
    for at in range(0, len(sent), size):
        reader.feed(sent[at : at + size])
    assert [body for _, body in taker.taken] == [b"hello"]
    assert not taker.taken[0][0].keeps_alive
    assert reader.is_over
    assert taker.refused == []


def test_a_body_after_which_another_protocol_was_to_come_is_bounded(reader, taker):
    taker.limit = 10
    reader.feed(POST + UPGRADE + b"transfer-encoding: chunked\r\n\r\n14\r\n" + b"x" * 30)
    assert taker.refused == [413]


def test_a_body_after_which_another_protocol_was_to_come_is_read_as_strictly(reader, taker):
    reader.feed(POST + UPGRADE + b"transfer-encoding: chunked\r\n\r\n-5\r\nhello")
    assert (taker.taken, taker.refused) == ([], [400])


@pytest.mark.parametrize(
    "sent",
    [
        POST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n" + BODY,
        POST + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n" + BODY,
        POST + b"transfer-encoding: chunked, chunked\r\n\r\n" + BODY,
        POST + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n" + BODY,
        POST + b"transfer-encoding: chunked, identity\r\n\r\n" + BODY,
        POST + b"transfer-encoding: xchunked\r\n\r\n" + BODY,
        POST + b"transfer-encoding: \x0bchunked\r\n\r\n" + BODY,
        POST + b"transfer-encoding:\r\n chunked\r\n\r\n" + BODY,
        POST + b"transfer-encoding:\r\ncontent-length: 5\r\n\r\nhello",
        POST + b"transfer-encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\n5;a=\nhello\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\n5\r\nhelloxx0\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello",
        POST + b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello",
        POST + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        POST + b"content-length: 5, 5\r\n\r\nhello",
        POST + b"content-length: +5\r\n\r\nhello",
        POST + b"content-length: -1\r\n\r\nhello",
        POST + b"content-length:\r\n\r\nhello",
        POST + b"content-length : 5\r\n\r\nhello",
        POST + b"content-length: 99999999999999999999\r\n\r\nhello",
        POST + b"x: a\r\n b\r\n\r\n",
        POST + b"x: a\nb: c\r\n\r\n",
        POST + b"x: a\rb: c\r\n\r\n",
        POST + b"x: a\0b\r\n\r\n",
        POST[:17] + b" host: x\r\n\r\n",
        POST.replace(b"\r\n", b"\n") + b"\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET \x00 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
def test_what_two_readers_could_take_for_two_things_is_refused(reader, taker, sent):
    """Else one who stands before us could be made to let a request in that it did not see."""
    reader.feed(sent)
    reader.feed(GET)
    assert taker.refused == [400]
    assert all(head.path == "/" for head, _ in taker.taken)
    assert reader.is_over


def test_a_body_that_says_it_is_too_large_is_not_waited_for(reader, taker):
    taker.limit = 10
    reader.feed(post(11))
    assert taker.refused == [413]
