"""Whose turn it is: fair between clients, by priority, and nobody starves."""

from __future__ import annotations

import random
from collections.abc import Hashable

import pytest

from waifu_llm.jobs.queue import HIGHEST, LOWEST, RISES_AFTER_SECONDS, FairQueue


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def filled(*items: str, priority: int = 0) -> FairQueue[str]:
    """Each item belongs to the client that its first letter names."""
    queue: FairQueue[str] = FairQueue(Clock())
    for item in items:
        queue.put(item, item[0], priority)
    return queue


def emptied(queue: FairQueue[str]) -> list[str]:
    return [queue.take() for _ in range(len(queue))]


def test_one_client_s_jobs_keep_their_order() -> None:
    assert emptied(filled("a1", "a2", "a3")) == ["a1", "a2", "a3"]


def test_clients_take_turns_however_many_jobs_one_has() -> None:
    queue = filled("a1", "a2", "a3", "a4", "b1", "b2", "c1")
    assert emptied(queue) == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


def test_who_comes_late_does_not_wait_for_all_who_were_there() -> None:
    queue = filled(*(f"a{number}" for number in range(1000)))
    assert queue.take() == "a0"
    queue.put("b", "b", 0)
    assert [queue.take() for _ in range(2)] == ["a1", "b"]


def test_a_higher_priority_comes_first_and_turns_are_taken_within_one() -> None:
    queue = filled("a1", "b1")
    queue.put("a9", "a", 9)
    queue.put("b9", "b", 9)
    queue.put("a8", "a", 9)
    queue.put("c-", "c", -1)
    assert emptied(queue) == ["a9", "b9", "a8", "a1", "b1", "c-"]


def test_what_goes_on_is_ahead_of_its_client_s_others_and_of_nobody_else_s() -> None:
    queue = filled("a1", "a2", "b1", "b2")
    for item in ("a7", "a8"):
        queue.put(item, "a", 0, ahead=True)
    assert list(queue.in_order()) == ["a7", "b1", "a8", "b2", "a1", "a2"]
    assert queue.place("a2") == 6
    queue.remove("a8")
    assert emptied(queue) == ["a7", "b1", "a1", "b2", "a2"]


def test_also_when_it_rises() -> None:
    clock = Clock()
    queue: FairQueue[str] = FairQueue(clock)
    for item, ahead in (("a1", False), ("a2", False), ("a9", True)):
        queue.put(item, "a", 0, ahead=ahead)
    queue.put("b1", "b", 1)
    clock.now = RISES_AFTER_SECONDS
    assert emptied(queue) == ["b1", "a9", "a1", "a2"]


def test_what_waits_long_rises_until_it_is_taken() -> None:
    clock = Clock()
    queue: FairQueue[str] = FairQueue(clock)
    queue.put("patient", "a", LOWEST)
    for step in range(HIGHEST - LOWEST):
        queue.put(f"urgent {step}", "b", HIGHEST)
        queue.put(f"more urgent {step}", "b", HIGHEST)
        assert queue.take() != "patient"
        clock.now += RISES_AFTER_SECONDS + 1
    assert "patient" in [queue.take() for _ in range(2)]


def test_what_has_not_waited_does_not_rise() -> None:
    clock = Clock()
    queue: FairQueue[str] = FairQueue(clock)
    queue.put("old", "a", 0)
    clock.now += RISES_AFTER_SECONDS - 1
    queue.put("new", "a", 0)
    queue.put("first", "b", 1)
    clock.now += 1.5
    assert list(queue.in_order()) == ["first", "old", "new"]
    queue.put("first but for one", "b", 1)
    assert list(queue.in_order()) == ["first", "old", "first but for one", "new"]


def test_what_is_taken_back_is_not_taken() -> None:
    queue = filled("a1", "a2", "b1")
    queue.remove("a1")
    queue.remove("nobody")
    queue.remove("b1")
    assert emptied(queue) == ["a2"]
    with pytest.raises(IndexError):
        queue.take()


@pytest.mark.parametrize("seed", range(20))
def test_the_order_and_the_places_are_what_comes_true(seed: int) -> None:
    draw = random.Random(seed)
    queue: FairQueue[int] = FairQueue(Clock())
    for item in range(draw.randint(1, 60)):
        client: Hashable = draw.randint(0, 5)
        queue.put(item, client, draw.choice([-1, 0, 0, 0, 3]))
        if draw.random() < 0.3:
            queue.take()
        if draw.random() < 0.1:
            queue.remove(draw.randint(0, item))
    told = list(queue.in_order())
    assert [queue.place(item) for item in told] == list(range(1, len(queue) + 1))
    assert told == [queue.take() for _ in range(len(queue))]
