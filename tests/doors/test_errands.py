"""What comes over a queue, read: an instruction, its key, and where its answer goes."""

from __future__ import annotations

import pytest

from waifu_llm.doors.errands import Kept, Letter, key_of, read, reply_of
from waifu_llm.errors import InvalidMessage

LIMIT = 1000
BODY = b'{"type":"USER_LIST","data":{}}'
UUID = "94bdccf2-238f-4c90-9858-b506f9f3397d"


def test_an_instruction_is_read_with_where_its_answer_goes() -> None:
    errand = read(Letter(BODY, correlation_id="c", reply_to="r"), LIMIT)
    assert errand.instruction == {"type": "USER_LIST", "data": {}}
    assert errand.reply is not None
    assert (errand.reply.queue, errand.reply.correlation_id) == ("r", "c")


def test_who_gives_only_a_message_id_gets_it_back() -> None:
    reply = reply_of(Letter(BODY, message_id="m", reply_to="r"))
    assert reply is not None
    assert reply.correlation_id == "m"


def test_nobody_may_wait() -> None:
    assert read(Letter(BODY), LIMIT).reply is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing",
        b"[]",
        b'"USER_LIST"',
        b"\xff\xfe",
        BODY[:-1],
        b"{" * 40 + b"}" * 40,
        b"1" * 1001,
    ],
)
def test_what_is_no_object_within_bounds_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidMessage):
        read(Letter(body), LIMIT)


SAME = [
    (Letter(BODY, message_id=UUID), Letter(BODY, message_id=UUID)),
    (Letter(BODY, UUID, "1", "r"), Letter(BODY, UUID, "2", "r")),
    (Letter(BODY, UUID, "1", "r"), Letter(BODY, UUID, "1", "another")),
    (Letter(BODY, None, "1", "r"), Letter(BODY, None, "1", "r")),
]
OTHERS = [
    (Letter(BODY, UUID), Letter(BODY[:-1] + b" }", UUID)),
    (Letter(BODY, "1", None, "r"), Letter(BODY, "1", None, "another")),
    (Letter(BODY, None, "1", "r"), Letter(BODY, None, "1", "another")),
    (Letter(BODY, None, UUID, "r"), Letter(BODY, None, UUID, "another")),
    (Letter(BODY, None, "1", "r"), Letter(BODY, None, "2", "r")),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_is_known_again(one: Letter, other: Letter) -> None:
    assert key_of(one) == key_of(other) is not None


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_what_may_be_another_is_never_taken_for_the_same(one: Letter, other: Letter) -> None:
    assert key_of(one) != key_of(other)


def test_a_correlation_id_that_is_used_again_loses_no_message() -> None:
    """Some give one to a whole conversation, in which the same may be said twice."""
    letters = [Letter(BODY, UUID[::step], "talk", "r") for step in (1, -1)]
    one, other = (read(letter, LIMIT).kept() for letter in letters)
    assert one.key != other.key
    assert one.key == read(letters[0], LIMIT).kept().key


def test_without_an_id_nothing_is_the_same() -> None:
    assert key_of(Letter(BODY, reply_to="r")) is None


def test_an_answer_that_comes_twice_bears_the_same_id() -> None:
    one, other = (reply_of(Letter(BODY, UUID, "c", "r")) for _ in range(2))
    assert one == other


def kept(letter: Letter) -> Kept:
    return read(letter, LIMIT).kept()


def test_what_is_kept_says_later_whom_to_answer() -> None:
    letter = Letter(BODY, UUID, "c", "r")
    assert kept(letter).address == reply_of(letter)
    assert kept(Letter(BODY, UUID)).address is None


def test_what_comes_again_is_kept_once() -> None:
    assert kept(Letter(BODY, UUID, "c", "r")) == kept(Letter(BODY, UUID, "c", "r"))


def test_two_who_wait_for_the_same_are_both_kept() -> None:
    one, other = kept(Letter(BODY, UUID, "c", "r")), kept(Letter(BODY, UUID, "c", "another"))
    assert one.key != other.key
    assert one.execution == other.execution


def test_two_without_an_id_are_both_kept_and_both_done() -> None:
    one, other = kept(Letter(BODY, reply_to="r")), kept(Letter(BODY, reply_to="r"))
    assert one.key != other.key
    assert one.execution != other.execution
