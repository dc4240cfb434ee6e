"""Interrupts and other ends of an answer with helpers, its clock, and what is hidden in it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from lent import LIMIT, OSLO, WEATHER, Stage, call, results
from serving import Heard, answer, hang, serving

from waifu_llm.asking import ask
from waifu_llm.conversation import Message, Params
from waifu_llm.engine import Engine
from waifu_llm.errors import (
    ContextTooLong,
    Interrupted,
    InvalidPrompt,
    Timeout,
    Unavailable,
    Unsupported,
)
from waifu_llm.helpers.tools import MOST_RESULT
from waifu_llm.holdings import Asked


async def test_an_interrupt_stops_a_call(stage: Stage) -> None:
    async with serving(hang) as server, asyncio.timeout(LIMIT):
        await stage.register("met", WEATHER, url=server.url)
        guest, listener = stage.begin([call("weather", OSLO)], "Never said.")
        while not server.tasks:
            await asyncio.sleep(0.01)
        assert [each.id for each in guest.interrupt("g")] == ["g"]
        final = await listener.final_of()
        await server.gone.wait()
    assert isinstance(final.error, Interrupted)
    assert len(stage.model.requests) == 1


async def test_an_interrupt_stops_a_later_round(stage: Stage, weather: Any) -> None:
    guest, listener = stage.begin([call("weather", OSLO)], "It " * 1000)
    async with asyncio.timeout(LIMIT):
        await listener.first.wait()
    guest.interrupt()
    said = len(listener.chunks)
    final = await listener.final_of()
    assert (final.finish_reason, len(listener.chunks)) == ("interrupt", said)
    assert stage.model.rounds[1].interrupted


async def test_while_helpers_are_called_the_models_place_is_free(stage: Stage) -> None:
    async with serving(hang) as server, asyncio.timeout(LIMIT):
        await stage.register("met", WEATHER, url=server.url)
        guest, _ = stage.begin(
            '{"call": "weather", "arguments": {"town": "Oslo"}}', provider="plain"
        )
        while not server.tasks:
            await asyncio.sleep(0.01)
        other, listener = stage.begin("Me first.", provider="plain")
        final = await listener.final_of()
        stage.engine.leave(guest)
        stage.engine.leave(other)
    assert final.response == "Me first."


async def test_the_models_clock_stands_while_helpers_are_called(stage: Stage) -> None:
    async def slowly(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3 if heard.line.startswith("POST") else 0)
        await answer({"result": "Rain"})(heard, writer)

    async with serving(slowly) as server:
        await stage.register("met", WEATHER, url=server.url)
        final = await stage.answer([call("weather", OSLO)], "It rains.", timeout_ms=200)
    assert (final.response, final.error) == ("It rains.", None)


async def test_and_runs_in_every_round(stage: Stage, weather: Any) -> None:
    stage.model.gate.clear()
    final = await stage.answer("", timeout_ms=100)
    assert isinstance(final.error, Timeout)
    stage.model.gate.set()


@pytest.mark.parametrize("error", [InvalidPrompt("No."), Unavailable("Down.")])
async def test_a_model_that_fails_in_a_later_round_fails(
    stage: Stage, weather: Any, error: Any
) -> None:
    final = await stage.answer([call("weather", OSLO)], error)
    assert final.error is error


async def test_what_was_done_is_not_done_twice_because_it_does_not_fit(
    stage: Stage, weather: Any
) -> None:
    """Who answers for somebody asks once more with less, when all is too long."""
    stage.model.turns = [[call("weather", OSLO)], ContextTooLong("Too long.")]
    talk = [Message("user", "Hi"), Message("assistant", "Hi"), Message("user", "Weather?")]
    with pytest.raises(InvalidPrompt, match="What the helpers answered does not fit"):
        await ask(stage.engine, Asked("echo"), talk, Params(model_id="m"), helpers=True)
    assert len(weather.tasks) == 1


@pytest.mark.parametrize("token", ["hush-hush-1", 'hush"hush-1', "hush\\hush-1", "hush/hush-1"])
async def test_a_token_that_comes_back_is_not_shown_to_the_model(stage: Stage, token: str) -> None:
    said = {"text": f"I was sent {token}", token: [token], "inside": json.dumps({"was": token})}
    async with serving(answer({"result": said})) as server:
        await stage.register("met", WEATHER, url=server.url, token=token)
        await stage.answer([call("weather", OSLO)], "Done")
    clean = {"text": "I was sent ***", "***": ["***"], "inside": '{"was": "***"}'}
    assert list(results(stage.told)) == [("c1", {"result": clean})]


@pytest.mark.parametrize("token", ["hush-hush-1", 'hush"hush-1'])
async def test_nor_is_half_of_one_where_the_answer_is_cut(stage: Stage, token: str) -> None:
    said = "x" * (MOST_RESULT - 6) + token + "x" * 100
    async with serving(answer({"result": said})) as server:
        await stage.register("met", WEATHER, url=server.url, token=token)
        await stage.answer([call("weather", OSLO)], "Done")
    ((_, told),) = results(stage.told)
    assert told == {"result": "x" * (MOST_RESULT - 6) + "***xxx", "cut": True}


async def test_the_end_of_the_module_is_an_end(stage: Stage) -> None:
    async with serving(hang) as server, asyncio.timeout(LIMIT):
        await stage.register("met", WEATHER, url=server.url)
        _, listener = stage.begin([call("weather", OSLO)], "Never said.")
        while not server.tasks:
            await asyncio.sleep(0.01)
        await stage.engine.silence()
        final = await listener.final_of()
        await server.gone.wait()
    assert isinstance(final.error, Interrupted)


async def test_without_helpers_in_the_module_it_is_refused(stage: Stage) -> None:
    engine: Engine = stage.engine
    engine._house.lending = None
    final = await stage.answer("Hi")
    assert isinstance(final.error, Unsupported)
    assert "no helpers" in final.error.message
