"""Who answers where nobody brought a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lent import Stage, call
from serving import answer, serving

from waifu_llm.conversation import Message
from waifu_llm.errors import RateLimited
from waifu_llm.helpers.conversing import Unset

HILDA: dict[str, Any] = {"provider": "echo", "model": "hilda-model", "persona": "You are Hilda."}


async def asked_of(stage: Stage) -> str | None:
    stage.model.turns = ["Hello"]
    assert await stage.helpers.speaker.answer("Hi") == "Hello"
    return stage.model.requests[-1].params.model_id


async def test_who_is_set_answers(stage: Stage) -> None:
    assert await asked_of(stage) == "m"
    assert stage.told == [Message("user", "Hi")]


async def test_it_may_be_a_profile(tmp_path: Path) -> None:
    profiles = {"hilda": HILDA, "greta": {**HILDA, "model": "greta-model"}}
    stage = Stage(tmp_path, profiles=profiles, process_provider="greta", process_model="")
    assert await asked_of(stage) == "greta-model"
    await stage.close()


async def test_the_only_profile_answers_where_nobody_is_named(tmp_path: Path) -> None:
    unset = {"process_provider": "", "process_model": ""}
    stage = Stage(tmp_path, profiles={"hilda": HILDA}, **unset)
    assert await asked_of(stage) == "hilda-model"
    assert stage.told[0] == Message("system", "You are Hilda.")
    await stage.close()
    stage = Stage(tmp_path, profiles={"hilda": HILDA, "greta": HILDA}, **unset)
    with pytest.raises(Unset, match="several profiles"):
        await stage.helpers.speaker.answer("Hi")
    await stage.close()


async def test_helpers_help(stage: Stage) -> None:
    async with serving(answer({"result": "Rain"})) as server:
        await stage.register("met", "weather", url=server.url)
        stage.model.turns = [[call("weather")], "It rains."]
        assert await stage.helpers.speaker.answer("Hi") == "It rains."


async def test_what_goes_wrong_is_raised(stage: Stage) -> None:
    error = RateLimited("Slow down.", retry_after_ms=5)
    stage.model.turns = [error]
    with pytest.raises(RateLimited) as caught:
        await stage.helpers.speaker.answer("Hi")
    assert caught.value is error
