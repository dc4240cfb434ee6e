"""One generation, from its ack to its final: whatever ends it, and however many ends there are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from waifu_llm.backend import Request, Result
from waifu_llm.conversation import Message, Params, ToolCall, Usage
from waifu_llm.errors import RateLimited, Unavailable
from waifu_llm.generation import Final, Generation, Limits, silence

HOUR = 3600.0


class Clock:
    """Time that passes when a test says so, and the timers that wait for it."""

    def __init__(self) -> None:
        self.now = 5000.0
        self._timers: list[Timer] = []

    def __call__(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[..., Any], *arguments: Any) -> Timer:
        self._timers.append(Timer(self.now + delay, lambda: callback(*arguments)))
        return self._timers[-1]

    @property
    def waiting(self) -> list[Timer]:
        return [each for each in self._timers if not each.cancelled]

    def passes(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [each for each in self.waiting if each.when <= end]:
            timer = min(due, key=lambda each: each.when)
            self._timers.remove(timer)
            self.now = max(self.now, timer.when)
            timer.ring()
        self.now = end


class Timer:
    def __init__(self, when: float, ring: Callable[[], None]) -> None:
        self.when = when
        self.ring = ring
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Ear:
    """A Listener that keeps what it hears. Several may write into one log."""

    def __init__(self, log: list[Any] | None = None) -> None:
        self.log = [] if log is None else log

    def chunk(self, text: str) -> None:
        self.log.append(text)

    def reasoning(self, text: str) -> None:
        self.log.append(("reasoning", text))

    def final(self, final: Final) -> None:
        self.log.append(final)

    def flush(self) -> None:
        self.log.append("flush")

    @property
    def said(self) -> list[Any]:
        return [each for each in self.log if each != "flush"]

    @property
    def finals(self) -> list[Final]:
        return [each for each in self.log if isinstance(each, Final)]


class Work:
    """A Running that counts how often it was told to stop."""

    def __init__(self) -> None:
        self.over = asyncio.get_running_loop().create_future()
        self.interrupts = 0

    def interrupt(self) -> None:
        self.interrupts += 1


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("waifu_llm.generation.monotonic", clock)
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", clock.call_later)
    return clock


@pytest.fixture
async def ear() -> Ear:
    return Ear()


def begin(ear: Ear, id: str = "g", stream: bool = True) -> Generation:
    messages = [Message(role="user", content="hi")]
    request = Request(messages, Params(model_id="tiny"), stream)
    return Generation(id, "echo", request, ear, None)


def started(ear: Ear, first: float = 10, next: float = 10, **options: Any) -> Generation:
    generation = begin(ear, **options)
    generation.starts(Limits(first, next))
    generation.runs(Work())
    return generation


async def turn() -> None:
    """Let the loop come round once: what is due in its next turn has then been done."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


# What passes through


async def test_chunks_and_thoughts_pass_in_order_and_the_chunks_joined_are_the_response(ear):
    generation = started(ear)
    generation.chunk("one")
    generation.reasoning("a thought")
    generation.flush()
    generation.chunk(" two")
    generation.done(Result())
    *before, final = ear.log
    assert before == ["one", ("reasoning", "a thought"), "flush", " two"]
    assert (final.response, final.finish_reason, final.error) == ("one two", "stop", None)


async def test_the_final_says_who_answered_and_what_the_backend_told(ear):
    calls = [ToolCall(id="c", name="weather", arguments="{}")]
    started(ear).done(Result("tool_calls", Usage(3, 4), calls))
    (final,) = ear.finals
    assert (final.provider, final.model_id) == ("echo", "tiny")
    assert (final.finish_reason, final.usage, final.tool_calls) == (
        "tool_calls",
        Usage(3, 4),
        calls,
    )


async def test_an_error_has_a_final_with_the_text_so_far(ear):
    generation = started(ear)
    generation.chunk("so far")
    error = RateLimited("Too fast.")
    generation.failed(error)
    (final,) = ear.finals
    assert (final.response, final.finish_reason, final.error) == ("so far", "error", error)


async def test_what_the_module_itself_ends_leaves_at_once(ear, clock):
    begin(ear).fail(Unavailable("Gone."))
    assert ear.log[1:] == ["flush"]
    ear.log.clear()
    started(ear)
    clock.passes(10)
    assert ear.log[1:] == ["flush"]


async def test_who_keeps_account_is_told_once_and_after_the_final(ear):
    generation = started(ear)
    generation.on_end = ear.log.append
    generation.done(Result())
    generation.fail(Unavailable("late"))
    assert [each for each in ear.said if not isinstance(each, Final)] == [generation]
    assert isinstance(ear.said[0], Final)


# Its ends


def times_out(generation: Generation, clock: Clock) -> None:
    clock.passes(HOUR)


ENDS: dict[str, tuple[Callable[[Generation, Clock], Any], str]] = {
    "done": (lambda generation, _: generation.done(Result("length")), "length"),
    "failed": (lambda generation, _: generation.failed(RateLimited("no")), "RATE_LIMITED"),
    "fail": (lambda generation, _: generation.fail(Unavailable("no")), "UNAVAILABLE"),
    "time-out": (times_out, "TIMEOUT"),
    "silence": (lambda generation, _: silence([generation]), "INTERRUPT"),
}


@pytest.mark.parametrize(("first", "second"), list(product(ENDS, repeat=2)))
async def test_however_two_ends_meet_the_first_is_the_final_and_nothing_follows(
    ear, clock, first, second
):
    generation = started(ear)
    generation.chunk("said")
    end, outcome = ENDS[first]
    end(generation, clock)
    generation.chunk("unsaid")
    ENDS[second][0](generation, clock)
    generation.reasoning("unsaid")
    await turn()
    generation.chunk("unsaid")
    clock.passes(HOUR)
    await turn()
    said, final = ear.said
    assert (said, final.response) == ("said", "said")
    assert (final.error.code if final.error else final.finish_reason) == outcome


@pytest.mark.parametrize("end", ENDS)
async def test_one_that_was_never_begun_has_its_final_too(ear, clock, end):
    generation = begin(ear)
    if end == "time-out":
        generation.starts(Limits(1, 1))
    ENDS[end][0](generation, clock)
    await turn()
    (final,) = ear.said
    assert (final.response, generation.ended) == ("", True)


@pytest.mark.parametrize("end", ENDS)
async def test_nothing_waits_for_the_clock_of_one_that_is_over(ear, clock, end):
    generation = started(ear)
    assert clock.waiting
    ENDS[end][0](generation, clock)
    await turn()
    assert not clock.waiting


# Silence


async def test_silence_names_those_that_still_ran_and_leaves_the_others_as_they_are(ear):
    running, over, again = (started(ear, id=id) for id in ("running", "over", "again"))
    over.done(Result())
    silence([again])
    assert silence([running, over, again]) == [running]
    await turn()
    reasons = [final.finish_reason for final in ear.finals]
    assert sorted(reasons) == ["interrupt", "interrupt", "stop"]


async def test_the_finals_of_what_is_silenced_come_after_the_one_who_asked_goes_on(ear):
    generation = started(ear)
    generation.chunk("one")
    silence([generation])
    ear.log.append("the ack")
    generation.chunk("two")
    await turn()
    (said, ack, final) = ear.said
    assert (said, ack) == ("one", "the ack")
    assert (final.finish_reason, final.response) == ("interrupt", "one")
    assert ear.log[-1] == "flush"


async def test_many_that_are_silenced_have_their_finals_together(ear):
    silence([started(ear, id=str(number)) for number in range(3)])
    await turn()
    assert all(isinstance(each, Final) for each in ear.log[:3])
    assert ear.log[3:] == ["flush"] * 3


async def test_the_final_says_why_it_was_silenced(ear):
    silence([started(ear)], "The curtain falls.")
    await turn()
    assert ear.finals[0].error.message == "The curtain falls."


async def test_silence_stops_the_work(ear):
    generation = begin(ear)
    generation.starts(Limits(10, 10))
    work = Work()
    generation.runs(work)
    silence([generation])
    assert work.interrupts == 1


async def test_silence_ends_the_wait_for_a_load_or_a_place(ear):
    generation, given_up = begin(ear), []
    generation.waits(lambda: given_up.append("wait"))
    silence([generation])
    assert given_up == ["wait"]


async def test_what_begins_to_work_after_it_was_silenced_is_stopped_there(ear):
    generation, work = begin(ear), Work()
    silence([generation])
    generation.runs(work)
    assert work.interrupts == 1


async def test_what_works_no_longer_waits(ear):
    generation, given_up = begin(ear), []
    generation.waits(lambda: given_up.append("wait"))
    generation.starts(Limits(10, 10))
    generation.runs(Work())
    silence([generation])
    assert given_up == []


# The clock


async def test_the_clock_does_not_run_before_the_provider_has_it(ear, clock):
    generation = begin(ear)
    clock.passes(HOUR)
    generation.starts(Limits(10, 10))
    clock.passes(9)
    assert ear.said == []
    clock.passes(1)
    assert ear.finals[0].error.code == "TIMEOUT"


async def test_nor_while_it_waits_for_a_place_elsewhere(ear, clock):
    generation = started(ear, first=10)
    for _ in range(2):
        generation.still_waits()
        clock.passes(HOUR)
        generation.begins()
        clock.passes(9)
        generation.begins()  # that it has begun already changes nothing
    assert not ear.said
    clock.passes(1)
    assert ear.finals[0].error.code == "TIMEOUT"


async def test_a_stream_has_one_limit_for_its_first_token_and_one_for_each_further(ear, clock):
    generation = started(ear, first=100, next=10)
    clock.passes(99)
    for word in ("one", " two", " three"):
        generation.chunk(word)
        generation.flush()
        clock.passes(9)
    assert ear.finals == []
    clock.passes(1)
    (final,) = ear.finals
    assert (final.error.code, final.response) == ("TIMEOUT", "one two three")
    assert "next token from `echo` in 10 s" in final.error.message


async def test_a_stream_that_never_speaks_is_ended_after_its_first_limit(ear, clock):
    started(ear, first=5, next=100)
    clock.passes(4.999)
    assert ear.finals == []
    clock.passes(0.001)
    assert "first token from `echo` in 5 s" in ear.finals[0].error.message


async def test_a_stream_that_speaks_is_not_ended_however_long_it_is(ear, clock):
    generation = started(ear, first=10, next=10)
    for _ in range(1000):
        clock.passes(9.9)
        generation.chunk("x")
        generation.flush()
    generation.done(Result())
    assert ear.finals[0].response == "x" * 1000


async def test_a_whole_answer_has_its_limit_for_all_of_it(ear, clock):
    generation = started(ear, first=10, next=10, stream=False)
    for _ in range(3):
        clock.passes(3)
        generation.chunk("x")
        generation.flush()
    assert ear.finals == []
    clock.passes(1)
    (final,) = ear.finals
    assert (final.error.code, final.response) == ("TIMEOUT", "xxx")
    assert "No answer from `echo` in 10 s" in final.error.message


async def test_between_two_rounds_its_clock_stands(clock):
    """Each round of a stream has its own patience; those of a whole answer share one."""
    for stream, more in ((True, 10), (False, 4)):
        ear = Ear()
        generation = started(ear, first=10, next=10, stream=stream)
        for _ in range(2):
            clock.passes(3)
            generation.rests(Work().interrupt)
            clock.passes(HOUR)
            generation.starts(Limits(10, 10))
            generation.runs(Work())
        clock.passes(more - 0.5)
        assert ear.finals == []
        clock.passes(1)
        assert ear.finals[0].error.code == "TIMEOUT"


async def test_a_rest_is_no_time_in_the_queue(ear, clock):
    generation = begin(ear)
    clock.passes(2)
    generation.starts(Limits(HOUR, HOUR))
    generation.rests(Work().interrupt)
    clock.passes(5)
    generation.starts(Limits(HOUR, HOUR))
    generation.done(Result())
    assert ear.finals[0].timing.queued_ms == 2000


async def test_an_interrupt_ends_what_is_done_in_a_rest(ear):
    generation, rest = started(ear), Work()
    generation.rests(rest.interrupt)
    silence([generation])
    assert rest.interrupts == 1
    await turn()
    assert ear.finals[0].error.code == "INTERRUPT"


async def test_a_time_out_stops_the_work(ear, clock):
    generation, work = begin(ear), Work()
    generation.starts(Limits(10, 10))
    generation.runs(work)
    clock.passes(10)
    assert work.interrupts == 1


async def test_timing_counts_from_when_the_request_came(ear, clock):
    generation = begin(ear)
    clock.passes(2)
    generation.starts(Limits(HOUR, HOUR))
    clock.passes(1.5)
    generation.chunk("one")
    clock.passes(1)
    generation.chunk(" two")
    clock.passes(0.5)
    generation.done(Result())
    timing = ear.finals[0].timing
    assert (timing.queued_ms, timing.first_token_ms, timing.total_ms) == (2000, 3500, 5000)


async def test_timing_of_what_no_provider_got_is_all_queue(ear, clock):
    generation = begin(ear)
    clock.passes(3)
    generation.fail(Unavailable("no"))
    timing = ear.finals[0].timing
    assert (timing.queued_ms, timing.first_token_ms, timing.total_ms) == (3000, None, 3000)


# More than one round


async def test_each_round_has_the_time_of_a_first_token(clock, ear):
    """A model reads all anew, and longer each time."""
    generation = started(ear, first=10, next=1)
    generation.chunk("Let me see. ")
    generation.flush()
    generation.rests(lambda: None)
    generation.starts(Limits(10, 1))
    clock.passes(5)
    assert not generation.ended
    generation.chunk("It rains.")
    generation.flush()
    clock.passes(6)
    assert "next token" in ear.finals[0].error.message


async def test_a_later_round_may_wait_for_a_place_too(clock, ear):
    generation = started(ear, first=10, next=10)
    generation.chunk("Let me see. ")
    generation.rests(lambda: None)
    generation.starts(Limits(10, 10))
    generation.still_waits()
    clock.passes(30)
    assert not generation.ended
    generation.begins()
    clock.passes(9)
    assert not generation.ended
    clock.passes(2)
    assert "first token" in ear.finals[0].error.message


async def test_a_wait_in_a_later_round_is_neither_counted_nor_given(clock, ear):
    """A whole answer has what it had left; and the queue that counts is the first."""
    generation = started(ear, first=10, stream=False)
    clock.passes(3)
    generation.rests(lambda: None)
    generation.starts(Limits(10, 10))
    generation.still_waits()
    clock.passes(30)
    generation.begins()
    clock.passes(6.5)
    assert not generation.ended
    clock.passes(1)
    assert ear.finals[0].error.code == "TIMEOUT"
    assert ear.finals[0].timing.queued_ms == 0
