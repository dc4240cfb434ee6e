"""An errand that was sent: before its first word it may move, after it nothing is mixed in."""

from __future__ import annotations

from typing import Any

import pytest

from waifu_llm.backend import Result
from waifu_llm.errors import ProviderCrashed, WaifuError
from waifu_llm.jobs.work import Source
from waifu_llm.wire import Done, ProviderFailure
from waifu_llm.workers.events import Errand, Event
from waifu_llm.workers.sent import Sent


class Post:
    """Writes down what is said to workers."""

    def __init__(self) -> None:
        self.stopped: list[tuple[str, str]] = []
        self.withdrawn: list[Sent] = []

    def stop(self, worker: str, run: str) -> None:
        self.stopped.append((worker, run))

    def withdraw(self, sent: Sent) -> None:
        self.withdrawn.append(sent)


class Heard:
    """A Sink that writes down what it is told."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self.waits = False

    def chunk(self, text: str) -> None:
        self.all.append(text)

    def reasoning(self, text: str) -> None:
        self.all.append(("thought", text))

    def done(self, result: Result) -> None:
        self.all.append(result.finish_reason)

    def failed(self, error: WaifuError) -> None:
        self.all.append(error)

    def still_waits(self) -> None:
        self.waits = True

    def begins(self) -> None:
        self.waits = False

    def flush(self) -> None: ...


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def sent(post: Post, heard: Heard) -> Sent:
    return Sent(post, Errand("e", "module", "generate", Source("echo")), "live", heard)


def taken(run: str = "r1", worker: str = "w1", attempt: int = 1) -> Event:
    return Event("e", run, 1, attempt=attempt, taken=worker)


def chunk(text: str, number: int, run: str = "r1") -> Event:
    return Event("e", run, number, chunk=text)


async def test_what_a_worker_says_is_passed_on_in_its_order(sent: Sent, heard: Heard) -> None:
    for event in (taken(), chunk("a", 2), chunk("b", 3), Event("e", "r1", 4, done=Done())):
        sent.take(event)
    assert heard.all == ["a", "b", "stop"]
    assert sent.over.done()


async def test_what_comes_twice_is_heard_once(sent: Sent, heard: Heard) -> None:
    for event in (taken(), chunk("a", 2), chunk("a", 2), taken(), chunk("b", 3)):
        sent.take(event)
    assert heard.all == ["a", "b"]


async def test_before_its_first_word_it_moves_to_another_worker_unseen(
    sent: Sent, heard: Heard, post: Post
) -> None:
    sent.take(taken())
    sent.take(taken("r2", "w2", 2))
    sent.take(chunk("late", 2, "r1"))
    sent.take(chunk("a", 2, "r2"))
    assert heard.all == ["a"]
    assert post.stopped == [("w1", "r1")]


async def test_after_its_first_word_a_later_try_ends_it_with_an_error(
    sent: Sent, heard: Heard, post: Post
) -> None:
    sent.take(taken())
    sent.take(chunk("a", 2))
    sent.take(taken("r2", "w2", 2))
    sent.take(chunk("b", 2, "r2"))
    assert heard.all[0] == "a"
    assert isinstance(heard.all[1], ProviderCrashed)
    assert "w1" in heard.all[1].message
    assert len(heard.all) == 2
    assert ("w2", "r2") in post.stopped


async def test_a_try_that_was_doubled_is_stopped_and_the_first_goes_on(
    sent: Sent, heard: Heard, post: Post
) -> None:
    for event in (taken(), chunk("a", 2), taken("r2", "w2", 1), chunk("x", 2, "r2")):
        sent.take(event)
    sent.take(chunk("b", 3))
    assert heard.all == ["a", "b"]
    assert post.stopped == [("w2", "r2")]


async def test_a_try_of_before_is_stopped_when_it_speaks_up_again(sent: Sent, post: Post) -> None:
    sent.take(taken("r2", "w2", 2))
    sent.take(taken("r1", "w1", 1))
    assert post.stopped == [("w1", "r1")]
    assert sent.worker == "w2"


async def test_a_missing_part_cuts_an_answer_off(sent: Sent, heard: Heard) -> None:
    for event in (taken(), chunk("a", 2), chunk("c", 4)):
        sent.take(event)
    assert heard.all[0] == "a"
    assert isinstance(heard.all[1], ProviderCrashed)


async def test_a_missing_part_before_the_first_word_is_another_try(
    sent: Sent, heard: Heard, post: Post
) -> None:
    sent.entry = b"1-0"
    sent.take(taken())
    sent.take(chunk("b", 3))
    assert heard.all == []
    assert not sent.over.done()
    assert post.stopped == [("w1", "r1")]
    assert sent.entry == b"1-0"  # so that it is seen that this is over, and what is to be done


async def test_what_waits_is_withdrawn_when_it_is_interrupted(sent: Sent, post: Post) -> None:
    sent.entry = b"1-0"
    sent.interrupt()
    assert post.withdrawn == [sent]
    assert sent.over.done()


async def test_what_runs_is_stopped_and_over_when_its_worker_says_so(
    sent: Sent, post: Post
) -> None:
    sent.take(taken())
    sent.interrupt()
    sent.interrupt()
    assert post.stopped == [("w1", "r1")]
    assert not sent.over.done()
    sent.take(Event("e", "r1", 2, error=ProviderFailure("INTERRUPT", "Interrupted.")))
    assert sent.over.done()


async def test_who_waits_is_told_as_long_as_a_load_takes(sent: Sent, heard: Heard) -> None:
    sent.take(taken())
    assert not heard.waits
    sent.take(Event("e", "r1", 2, waits=True))
    assert heard.waits
    sent.take(Event("e", "r1", 3, begins=True))
    assert not heard.waits


async def test_it_fails_once(sent: Sent, heard: Heard) -> None:
    sent.take(taken())
    sent.fail(ProviderCrashed("gone"))
    sent.fail(ProviderCrashed("gone"))
    sent.take(chunk("a", 2))
    assert [type(each) for each in heard.all] == [ProviderCrashed]
