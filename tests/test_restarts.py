"""When a provider that died is started again."""

from __future__ import annotations

import pytest

from waifu_llm.errors import ProviderCrashed
from waifu_llm.restarts import Restarts


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def restarts(clock: Clock) -> Restarts:
    """Chance has it that every pause is as long as it can be."""
    return Restarts(clock, lambda: 1.0)


def test_what_never_died_starts_at_once(restarts):
    restarts.refuse("tried")
    assert restarts.pause() == 0


def test_it_is_started_at_once_then_later_and_later(restarts):
    pauses = []
    for _ in range(4):
        restarts.note_death()
        pauses.append(restarts.pause())
    assert pauses == [0, 0.5, 1, 2]


def test_a_pause_counts_from_the_death(restarts, clock):
    for _ in range(4):
        restarts.note_death()
    clock.now += 1.5
    assert restarts.pause() == 0.5
    clock.now += 10
    assert restarts.pause() == 0


def test_chance_shortens_a_pause_by_half_at_most(clock):
    restarts = Restarts(clock, lambda: 0.0)
    for _ in range(4):
        restarts.note_death()
    assert restarts.pause() == 1


def test_five_deaths_in_three_minutes_are_too_many(restarts, clock):
    for _ in range(4):
        restarts.note_death()
        clock.now += 10
    restarts.refuse("tried")
    restarts.note_death()
    with pytest.raises(ProviderCrashed, match=r"`tried` died 5 times in 3 minutes.* 140 s") as no:
        restarts.refuse("tried")
    assert no.value.retry_after_ms == 140_000
    assert "waifu-llm logs tried" in no.value.message


def test_it_may_be_tried_again_when_the_first_death_is_long_ago(restarts, clock):
    for _ in range(5):
        restarts.note_death()
        clock.now += 10
    clock.now += 129
    with pytest.raises(ProviderCrashed):
        restarts.refuse("tried")
    clock.now += 1
    restarts.refuse("tried")
    assert restarts.given_up_for == 0


def test_five_deaths_that_are_far_apart_are_not_too_many(restarts, clock):
    for _ in range(20):
        restarts.note_death()
        clock.now += 50
        restarts.refuse("tried")
