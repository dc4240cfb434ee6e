"""Who answers where nobody brought a model."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from lent import LIMIT, Stage, call
from serving import answer, serving

from waifu_llm.conversation import Message, Params, Usage
from waifu_llm.errors import ContextTooLong, NotLoaded, RateLimited
from waifu_llm.helpers.conversing import Persona, Unset

HI = [Message("user", "Hi")]
HILDA: dict[str, Any] = {"provider": "echo", "model": "hilda-model", "persona": "You are Hilda."}


async def test_what_was_said_is_told_whole(stage: Stage) -> None:
    stage.model.turns = ["Hello you"]
    heard: list[str] = []
    answered = await stage.helpers.speaker.answer(HI, on_chunk=heard.append)
    assert (answered.text, "".join(heard)) == ("Hello you", "Hello you")
    assert (answered.finish_reason, answered.provider, answered.model) == ("stop", "echo", "m")
    assert answered.usage == Usage(10, 1)
    assert stage.engine.status()["generations"] == 0


async def test_the_only_profile_answers_where_nobody_is_named(tmp_path: Path) -> None:
    unset = {"process_provider": "", "process_model": ""}
    stage = Stage(tmp_path, profiles={"hilda": HILDA}, **unset)
    stage.model.turns = ["Hello"]
    assert (await stage.helpers.speaker.answer(HI)).model == "hilda-model"
    assert stage.told[0] == Message("system", "You are Hilda.")
    await stage.close()
    stage = Stage(tmp_path, profiles={"hilda": HILDA, "greta": HILDA}, **unset)
    with pytest.raises(Unset, match="several profiles"):
        await stage.helpers.speaker.answer(HI)
    await stage.close()


async def test_who_is_set_answers(tmp_path: Path) -> None:
    profiles = {"hilda": HILDA, "greta": {**HILDA, "model": "greta-model"}}
    settings = {"process_provider": "greta", "process_model": ""}
    stage = Stage(tmp_path, profiles=profiles, **settings)
    stage.model.turns = ["Hello"]
    assert (await stage.helpers.speaker.answer(HI)).model == "greta-model"
    await stage.close()


async def test_a_persona_comes_before_what_is_set(stage: Stage) -> None:
    stage.model.turns = ["Hello"]
    persona = Persona("plain", "own", None, "You are Greta.", "Greta", Params(temperature=0.5))
    answered = await stage.helpers.speaker.answer(HI, persona, urgency="low")
    assert (answered.provider, answered.model) == ("plain", "own")
    request = stage.model.requests[0]
    assert request.messages == [Message("system", "You are Greta."), *HI]
    assert (request.params.temperature, request.params.character_name) == (0.5, "Greta")
    assert request.urgency == "low"


async def test_a_persona_may_name_a_stored_key(stage: Stage) -> None:
    with pytest.raises(NotLoaded, match="takes no key"):
        await stage.helpers.speaker.answer(HI, Persona("plain", "own", "work"))


async def test_the_set_model_is_the_set_providers_alone(stage: Stage) -> None:
    stage.model.turns = ["Hello"]
    with pytest.raises(Exception, match="No model is named"):
        await stage.helpers.speaker.answer(HI, Persona("plain"))


async def test_a_talk_with_a_system_message_keeps_its_own(stage: Stage) -> None:
    stage.model.turns = ["Hello"]
    talk = [Message("system", "Mine."), *HI]
    await stage.helpers.speaker.answer(talk, Persona(prompt="Another."))
    assert stage.told == talk


async def test_helpers_help_unless_the_persona_has_none(stage: Stage) -> None:
    async with serving(answer({"result": "Rain"})) as server:
        await stage.register("met", "weather", url=server.url)
        stage.model.turns = [[call("weather")], "It rains."]
        assert (await stage.helpers.speaker.answer(HI)).text == "It rains."
        stage.model.turns = ["Who knows."]
        await stage.helpers.speaker.answer(HI, Persona(helpers=False))
    assert stage.model.requests[-1].params.tools is None


async def test_what_goes_wrong_is_raised(stage: Stage) -> None:
    error = RateLimited("Slow down.", retry_after_ms=5)
    stage.model.turns = [error]
    with pytest.raises(RateLimited) as caught:
        await stage.helpers.speaker.answer(HI)
    assert caught.value is error


async def test_who_stops_waiting_stops_the_model(stage: Stage) -> None:
    stage.model.turns = ["Hello"]
    stage.model.gate.clear()
    heard = asyncio.Event()
    asking = asyncio.create_task(stage.helpers.speaker.answer(HI, on_chunk=lambda _: heard.set()))
    async with asyncio.timeout(LIMIT):
        await heard.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert stage.model.rounds[0].interrupted
    await asyncio.sleep(0)
    assert stage.engine.status()["generations"] == 0


async def test_what_is_too_long_is_tried_with_its_later_half(stage: Stage) -> None:
    talk = [Message("user", str(number)) for number in range(5)]
    stage.model.turns = [ContextTooLong("Too long."), "Hello"]
    persona = Persona(prompt="You are Hilda.")
    assert (await stage.helpers.speaker.answer(talk, persona)).text == "Hello"
    assert stage.told == [Message("system", "You are Hilda."), *talk[2:]]
    for turns, asked in (([ContextTooLong("Too long.")], talk), ([ContextTooLong("x")], HI)):
        stage.model.turns = [*turns]
        with pytest.raises(ContextTooLong):
            await stage.helpers.speaker.answer(asked)


async def test_what_was_begun_to_be_said_is_not_said_anew(stage: Stage) -> None:
    stage.model.turns = [("Well", ContextTooLong("Too long.")), "Never said."]
    heard: list[str] = []
    with pytest.raises(ContextTooLong):
        await stage.helpers.speaker.answer([*HI, *HI], on_chunk=heard.append)
    assert "".join(heard) == "Well"
