"""The roll of workers: where work goes, and clear words where it can go nowhere."""

from __future__ import annotations

import time
from typing import Any

import pytest

from waifu_llm.errors import InvalidModel, Unavailable
from waifu_llm.workers import roll
from waifu_llm.workers.outages import ALL_ARE_BACK_SECONDS
from waifu_llm.workers.roll import Offer, Roll, Said


def said(id: str, lease: float = 30.0, state: Any = "ready", **offers: Offer) -> Said:
    return Said(id, "host", 1, "0", 0.0, time.time(), state, offers, lease)


@pytest.fixture
def new_roll() -> Any:
    def new(*workers: Said) -> Roll:
        found = Roll(None, None)  # type: ignore[arg-type]
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


def test_nobody_is_taken_for_dead_for_a_time_in_which_nobody_could_be_heard(
    new_roll: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = new_roll(said("w", lease=30.0, openai=ANY))
    now = time.monotonic()
    monkeypatch.setattr(roll, "monotonic", lambda: now + 60.0)
    found._forgive()
    assert found.is_there("w")
    back_too = int(ALL_ARE_BACK_SECONDS)
    for second in range(61, 91 + back_too + 1):
        monkeypatch.setattr(roll, "monotonic", lambda at=now + second: at)
        found._forgive()
    assert not found.is_there("w")


def test_who_comes_back_later_than_we_is_waited_for_even_with_a_short_lease(
    new_roll: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = new_roll(said("w", lease=1.0, openai=ANY))
    now = time.monotonic()
    monkeypatch.setattr(roll, "monotonic", lambda: now + 60.0)
    found._forgive()
    monkeypatch.setattr(roll, "monotonic", lambda: now + 60.0 + ALL_ARE_BACK_SECONDS)
    assert found.is_there("w")


def test_one_that_took_something_is_there_before_it_was_seen(
    new_roll: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = new_roll()
    now = time.monotonic()
    found.took("w")
    assert found.is_there("w")
    monkeypatch.setattr(roll, "monotonic", lambda: now + 60.0)
    assert not found.is_there("w")
    found._forgive()
    assert found.is_there("w")
    found.took("w")
    found._note(said("w", lease=30.0, openai=ANY))
    monkeypatch.setattr(roll, "monotonic", lambda: now + 80.0)
    assert found.is_there("w")


def test_the_models_of_all_are_told_once(new_roll: Any) -> None:
    both = new_roll(said("v", llamacpp=Offer(["b", "c"], 1)), said("w", llamacpp=TWO))
    assert sorted(both.models("llamacpp") or []) == ["a", "b", "c"]
    assert new_roll(said("w", openai=ANY)).models("openai") is None
