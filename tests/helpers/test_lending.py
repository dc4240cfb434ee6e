"""A model asks for helpers, is told what came of it, and goes on: one answer all the while."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from lent import OSLO, WEATHER, Listener, Stage, call, results
from serving import Heard, answer, hang, serving

from waifu_llm.conversation import Message, Params, Usage
from waifu_llm.protocol import Generate


async def test_it_calls_is_told_and_answers(stage: Stage, weather: Any) -> None:
    final = await stage.answer([call("weather", OSLO)], "It rains.")
    assert (final.response, final.finish_reason, final.error) == ("It rains.", "stop", None)
    assert final.tool_calls is None
    assert weather.tasks[0].json == {"task": "weather", "data": {"town": "Oslo"}}
    assert [each.role for each in stage.told] == ["system", "user", "assistant", "tool"]
    assert stage.told[2].tool_calls == [call("weather", OSLO)]
    assert list(results(stage.told)) == [("c1", {"result": "Rain"})]


async def test_helpers_are_offered_as_tools(stage: Stage, weather: Any) -> None:
    await stage.register("speechless", "listed_only")
    await stage.answer("Hi")
    (tool,) = stage.model.requests[0].params.tools or []
    assert tool == {"type": "function", "function": WEATHER}


async def test_a_word_is_offered_with_any_arguments(stage: Stage) -> None:
    async with serving(answer({"result": 1})) as server:
        await stage.register("ExampleHelper", "image_processing", url=server.url)
        await stage.answer([call("image_processing", '{"a": [1]}')], "Done")
    (tool,) = stage.model.requests[0].params.tools or []
    assert tool["function"]["parameters"]["additionalProperties"] is True
    assert server.tasks[0].json["data"] == {"a": [1]}


async def test_only_who_asks_for_helpers_has_them(stage: Stage, weather: Any) -> None:
    stage.model.turns = ["Hi"]
    guest, listener = stage.engine.enter(), Listener()
    asked = Generate(
        unique_request_id="g",
        provider="echo",
        messages=[Message("user", "Hi")],
        params=Params(model_id="m"),
    )
    guest.generate(asked, listener)
    await listener.final_of()
    assert stage.model.requests[0].params.tools is None


async def test_what_is_said_before_a_call_is_spoken_at_once(stage: Stage, weather: Any) -> None:
    final = await stage.answer(("Let me see.", [call("weather", OSLO)]), "It rains.")
    assert final.response == "Let me see.\nIt rains."
    assert stage.told[2].content == "Let me see."


async def test_tokens_of_all_rounds_are_counted(stage: Stage, weather: Any) -> None:
    final = await stage.answer([call("weather", OSLO)], "It rains.")
    assert final.usage == Usage(20, 2)


async def test_calls_of_one_round_run_together(stage: Stage) -> None:
    both = asyncio.Event()
    inside = 0

    async def meet(heard: Heard, writer: asyncio.StreamWriter) -> None:
        nonlocal inside
        if heard.line.startswith("GET"):
            return await answer({})(heard, writer)
        inside += 1
        if inside == 2:
            both.set()
        await both.wait()
        return await answer({"result": heard.json["data"]["n"]})(heard, writer)

    async with serving(meet) as server:
        await stage.register("a", "meet", url=server.url)
        calls = [call("meet", '{"n": 1}', "c1"), call("meet", '{"n": 2}', "c2")]
        await stage.answer(calls, "Done")
    assert list(results(stage.told)) == [("c1", {"result": 1}), ("c2", {"result": 2})]


@pytest.mark.parametrize("id", ["", "same"])
async def test_calls_without_ids_of_their_own_get_some(stage: Stage, weather: Any, id: str) -> None:
    await stage.answer([call("weather", OSLO, id), call("weather", OSLO, id)], "Done")
    ids = [each.id for each in stage.told[2].tool_calls or []]
    assert len(set(ids)) == 2
    assert [id for id, _ in results(stage.told)] == ids


async def test_a_client_has_tools_of_its_own_beside(stage: Stage, weather: Any) -> None:
    own = {"type": "function", "function": {"name": "wave"}}
    taken = {"type": "function", "function": {"name": "weather"}}
    final = await stage.answer([call("wave"), call("weather")], tools=[own, taken])
    names = [each["function"]["name"] for each in stage.model.requests[0].params.tools or []]
    assert names == ["wave", "weather"]
    assert (final.finish_reason, final.tool_calls) == (
        "tool_calls",
        [call("wave"), call("weather")],
    )
    assert weather.tasks == []


async def test_what_goes_to_a_client_waits_for_no_helper(stage: Stage, weather: Any) -> None:
    own = {"type": "function", "function": {"name": "wave"}}
    both = [call("weather", OSLO, "c1"), call("wave", id="c2")]
    final = await stage.answer(both, tools=[own])
    assert (final.finish_reason, final.tool_calls) == ("tool_calls", both[1:])
    assert (len(stage.model.requests), weather.tasks) == (1, [])


async def test_where_there_is_no_helper_it_just_answers(stage: Stage) -> None:
    final = await stage.answer("Hi")
    assert final.response == "Hi"
    assert stage.model.requests[0].params.tools is None


# Limits


async def test_after_so_many_rounds_no_more_is_called(tmp_path: Path) -> None:
    stage = Stage(tmp_path, helper_rounds=2)
    async with serving(answer({"result": "Rain"})) as server:
        await stage.register("met", WEATHER, url=server.url)
        final = await stage.answer(*[[call("weather", OSLO)]] * 3, "Enough.")
        assert final.response == "Enough."
        assert len(server.tasks) == 2
        assert "No helper may be called any more" in list(results(stage.told))[-1][1]["error"]
        stage.model.requests.clear()
        final = await stage.answer([call("weather", OSLO)])  # for ever
    await stage.close()
    assert (final.response, final.finish_reason, final.tool_calls) == ("", "length", None)
    assert (len(stage.model.requests), len(server.tasks)) == (4, 4)


async def test_of_too_many_calls_at_once_some_are_done(stage: Stage, weather: Any) -> None:
    await stage.answer([call("weather", OSLO, f"c{n}") for n in range(10)], "Done")
    told = [value for _, value in results(stage.told)]
    assert [*map(list, told)] == [["result"]] * 8 + [["error"]] * 2
    assert len(weather.tasks) == 8


async def test_all_calls_together_have_so_much_time(tmp_path: Path) -> None:
    stage = Stage(tmp_path, helper_total_seconds=0.2)
    async with serving(hang) as server:
        await stage.register("met", WEATHER, url=server.url)
        turn = [call("weather", OSLO)]
        final = await stage.answer(turn, turn, turn, "Late.")
    await stage.close()
    assert final.response == "Late."
    assert all("time" in value["error"] for _, value in results(stage.told))
    assert len(server.tasks) == 1
