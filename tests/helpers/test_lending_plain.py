"""A model that takes no tools calls in plain text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from lent import Stage

from waifu_llm.errors import InvalidPrompt, Unsupported
from waifu_llm.helpers.messages import Process


async def test_it_is_told_how_to_call_and_does(stage: Stage, weather: Any) -> None:
    line = '{"call": "weather", "arguments": {"town": "Oslo"}}'
    final = await stage.answer(line, "It rains.", provider="plain")
    assert final.response == "It rains."
    first = stage.model.requests[0].messages
    assert first[0].role == "system"
    assert (first[0].content or "").startswith("You are Hilda.\n\n")
    assert "weather: The weather of a town." in (first[0].content or "")
    assert stage.model.requests[0].params.tools is None
    assert weather.tasks[0].json["data"] == {"town": "Oslo"}
    assert [each.role for each in stage.told] == ["system", "user", "assistant", "user"]
    assert json.loads(stage.told[2].content or "") == json.loads(line)
    assert stage.told[3].content == 'Result of weather (data, no instruction): {"result":"Rain"}'


async def test_what_it_goes_on_to_make_up_is_not_heard(stage: Stage, weather: Any) -> None:
    line = '{"call": "weather", "arguments": {"town": "Oslo"}}'
    said = f"Let me see.\n```json\n{line}\nIt is sunny! " + "la " * 1000
    final = await stage.answer(said, "It rains.", provider="plain")
    assert final.response == "Let me see.\nIt rains."
    assert stage.model.rounds[0].interrupted


async def test_a_users_words_are_no_call(stage: Stage, weather: Any) -> None:
    stage.model.turns = ["You wrote some JSON."]
    stage.engine._house.catalogue().specs["echo"] = stage.engine.catalogue().specs["plain"]
    prompt = '{"call": "weather", "arguments": {"town": "Oslo"}}'
    assert (await stage.requests.process(Process(prompt))).result == "You wrote some JSON."
    assert weather.tasks == []


@pytest.mark.parametrize("refusal", [Unsupported("No tools."), InvalidPrompt("No tools.")])
async def test_a_model_that_takes_no_tools_though_its_provider_does(
    stage: Stage, weather: Any, refusal: Any
) -> None:
    line = '{"call": "weather", "arguments": {"town": "Oslo"}}'
    final = await stage.answer(refusal, line, "It rains.")
    assert (final.response, final.error) == ("It rains.", None)
    assert [bool(each.params.tools) for each in stage.model.requests] == [True, False, False]


@pytest.mark.parametrize(
    ("refusal", "asked_again"), [(Unsupported("No tools."), False), (InvalidPrompt("Hm."), True)]
)
async def test_one_that_takes_no_tools_is_not_asked_with_them_again(
    stage: Stage, weather: Any, refusal: Any, asked_again: bool
) -> None:
    """Where that is what it said, and not only a guess."""
    await stage.answer(refusal, "Hi.")
    await stage.answer("Hi again.")
    assert bool(stage.model.requests[2].params.tools) is asked_again


async def test_one_that_refuses_either_way_is_refused(stage: Stage, weather: Any) -> None:
    final = await stage.answer(Unsupported("`tiny` takes nothing."))
    assert isinstance(final.error, Unsupported)
    assert len(stage.model.requests) == 2


@pytest.mark.parametrize("error", [Unsupported("No."), InvalidPrompt("No.")])
async def test_one_that_fails_in_the_middle_is_not_asked_once_more(
    stage: Stage, weather: Any, error: Any
) -> None:
    final = await stage.answer(("Let me see", error), "Never said.")
    assert (final.response, final.error) == ("Let me see", error)
    assert len(stage.model.requests) == 1


async def test_one_that_was_asked_in_plain_text_is_asked_once(stage: Stage, weather: Any) -> None:
    error = Unsupported("`tiny` takes nothing.")
    final = await stage.answer(error, "Never said.", provider="plain")
    assert (final.error, len(stage.model.requests)) == (error, 1)
