"""The roll of workers: where work goes, and clear words where it can go nowhere."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from waifu_llm.errors import InvalidModel, Unavailable
from waifu_llm.workers import outages, roll
from waifu_llm.workers.names import Names
from waifu_llm.workers.outages import ALL_ARE_BACK_SECONDS, Outages
from waifu_llm.workers.roll import Offer, Roll, Said, is_among


def said(id: str, lease: float = 30.0, state: Any = "ready", **offers: Offer) -> Said:
    return Said(id, "host", 1, "0", 0.0, time.time(), state, offers, lease)


@pytest.fixture
def new_roll() -> Any:
    def new(*workers: Said) -> Roll:
        found = Roll(SimpleNamespace(outages=Outages()), Names("waifu"))  # type: ignore[arg-type]
        for each in workers:
            found._note(each)
        return found

    return new


ANY, TWO = Offer(None, 4), Offer(["a", "b"], 1)


def test_work_for_a_named_model_goes_to_those_who_have_it(new_roll: Any) -> None:
    assert new_roll(said("w", llamacpp=TWO)).route("llamacpp", "a") == "llamacpp/a"


def test_work_for_any_model_goes_to_those_who_take_any(new_roll: Any) -> None:
    assert new_roll(said("w", openai=ANY)).route("openai", "gpt-9") == "openai/*"


def test_work_without_a_model_goes_to_all_who_offer_the_provider(new_roll: Any) -> None:
    assert new_roll(said("w", llamacpp=TWO)).route("llamacpp", None) == "llamacpp"


def test_each_offer_is_read_from_where_its_work_goes(new_roll: Any) -> None:
    found = new_roll(said("w", llamacpp=TWO, openai=ANY))
    for provider, model in (("llamacpp", "b"), ("llamacpp", None), ("openai", "x")):
        assert found.is_offered(found.route(provider, model))


def test_a_long_model_name_becomes_a_short_route(new_roll: Any) -> None:
    name = "m" * 500
    found = new_roll(said("w", llamacpp=Offer([name], 1)))
    assert len(found.route("llamacpp", name)) < 100
    assert found.is_offered(found.route("llamacpp", name))


def test_who_offers_nothing_of_it_is_said_with_what_there_is(new_roll: Any) -> None:
    with pytest.raises(Unavailable, match=r"No worker offers `ollama`. There are w with llamacpp"):
        new_roll(said("w", llamacpp=TWO)).route("ollama", None)
    with pytest.raises(Unavailable, match="None is there"):
        new_roll().route("ollama", None)


def test_a_model_that_none_has_is_said_with_those_that_they_have(new_roll: Any) -> None:
    same = new_roll(said("v", llamacpp=TWO), said("w", llamacpp=TWO))
    with pytest.raises(InvalidModel, match=r"model `c` of `llamacpp`. There are v, w with a, b"):
        same.route("llamacpp", "c")
    other = new_roll(said("v", llamacpp=Offer([], 1)), said("w", llamacpp=TWO))
    with pytest.raises(InvalidModel, match=r"v with none; w with a, b\."):
        other.route("llamacpp", "c")


def test_one_that_drains_gets_nothing_more(new_roll: Any) -> None:
    with pytest.raises(Unavailable):
        new_roll(said("w", state="draining", openai=ANY)).route("openai", "x")


def test_one_that_says_nothing_new_is_not_there_after_its_lease(
    new_roll: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = said("w", lease=30.0, openai=ANY)
    found = new_roll(worker)
    now = time.monotonic()
    monkeypatch.setattr(roll, "monotonic", lambda: now + 29.0)
    found._note(worker)  # the same words again are nothing new
    assert found.is_there("w")
    monkeypatch.setattr(roll, "monotonic", lambda: now + 31.0)
    assert not found.is_there("w")
    assert not found.has("openai", "x")


class Clock:
    """Of the roll, and of its link."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.monotonic()
        for module in (roll, outages):
            monkeypatch.setattr(module, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_nobody_is_taken_for_dead_while_nobody_could_be_heard(new_roll: Any, clock: Clock) -> None:
    found = new_roll(said("w", lease=30.0, openai=ANY))
    found._link.outages.tell(OSError("away"))
    clock.now += 60.0
    assert found.is_there("w")
    found._link.outages.tell(None)
    clock.now += ALL_ARE_BACK_SECONDS + 29.0
    assert found.is_there("w")
    clock.now += 2.0
    assert not found.is_there("w")


def test_who_comes_back_later_than_we_is_waited_for_even_with_a_short_lease(
    new_roll: Any, clock: Clock
) -> None:
    found = new_roll(said("w", lease=1.0, openai=ANY))
    found._link.outages.tell(OSError("away"))
    clock.now += 60.0
    found._link.outages.tell(None)
    clock.now += ALL_ARE_BACK_SECONDS
    assert found.is_there("w")


async def test_a_dead_one_is_seen_however_long_a_look_takes(new_roll: Any, clock: Clock) -> None:
    found = new_roll(said("w", lease=2.0, openai=ANY))

    class SlowRedis:
        async def zrange(self, *_: object) -> list[bytes]:
            clock.now += 10.0
            return [b"w"]

        async def mget(self, *_: object) -> list[None]:
            return [None]

        async def zremrangebyscore(self, *_: object) -> None: ...

    found._link.redis = SlowRedis()
    for _ in range(2):
        await found.look()
    assert not found.is_there("w")
    assert found.workers == []


def test_one_that_took_something_is_there_before_it_was_seen(new_roll: Any, clock: Clock) -> None:
    found = new_roll()
    found.took("w")
    assert found.is_there("w")
    clock.now += 60.0
    assert not found.is_there("w")
    found.took("w")
    found._note(said("w", lease=30.0, openai=ANY))
    clock.now += 20.0
    assert found.is_there("w")


def test_a_model_may_be_named_without_its_tag_or_with_the_ending_of_its_file() -> None:
    assert is_among("llama", ["llama:latest"])
    assert is_among("tiny.gguf", ["tiny"])
    assert not is_among("llama", ["llama2", "llama:8b"])


def test_the_models_of_all_are_told_once(new_roll: Any) -> None:
    both = new_roll(said("v", llamacpp=Offer(["b", "c"], 1)), said("w", llamacpp=TWO))
    assert sorted(both.models("llamacpp") or []) == ["a", "b", "c"]
    assert new_roll(said("w", openai=ANY)).models("openai") is None
