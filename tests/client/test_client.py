"""The Python client, against a real module: its answers and loads."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from client_stage import StartModule, text_of
from support import Module

from waifu_llm.client import Client, Text, connect
from waifu_llm.conversation import Message, Timing, ToolCall, Usage
from waifu_llm.errors import (
    Authorization,
    InvalidMessage,
    InvalidModel,
    InvalidProvider,
    NotLoaded,
    OutOfMemory,
    Unsupported,
    WaifuError,
)

# Answers


async def test_a_whole_answer_is_typed(llm: Client) -> None:
    answer = await llm.generate("hello there", model="echo")
    assert answer.response == "hello there"
    assert (answer.finish_reason, answer.provider, answer.model_id) == ("stop", "echo", "echo")
    assert answer.usage == Usage(2, 2)
    assert isinstance(answer.timing, Timing)
    assert answer.timing.total_ms >= answer.timing.queued_ms
    assert answer.tool_calls is None


async def test_the_chunks_of_a_stream_joined_are_its_answer(llm: Client) -> None:
    stream = llm.stream("one two three", model="echo")
    chunks = [chunk async for chunk in stream]
    assert stream.answer is not None
    assert "".join(chunks) == stream.answer.response == "one two three"
    assert stream.answer.usage == Usage(3, 3)
    assert isinstance(stream.answer.timing, Timing)


async def test_reasoning_that_was_asked_for_stands_beside_the_text(llm: Client) -> None:
    extra = {"reasoning": "A greeting."}
    stream = llm.stream("Hi", model="echo", reasoning="send", extra=extra)
    assert await text_of(stream) == "Hi"
    assert stream.reasoning == ["A greeting."]


async def test_tool_calls_are_typed(llm: Client) -> None:
    call = {"id": "c1", "name": "weather", "arguments": "{}"}
    answer = await llm.generate("Rain?", model="echo", extra={"tool_calls": [call]})
    assert answer.finish_reason == "tool_calls"
    assert answer.tool_calls == [ToolCall("c1", "weather", "{}")]


async def test_params_are_passed_on(llm: Client) -> None:
    answer = await llm.generate("a b c", model="echo", max_output_length=2)
    assert (answer.response, answer.finish_reason) == ("a b", "length")
    answer = await llm.generate("a b c", model="echo", stop_tokens=[" c"])
    assert (answer.response, answer.finish_reason) == ("a b", "stop")


async def test_a_conversation_is_made_of_messages_or_dicts(llm: Client) -> None:
    await llm.load("plain")
    conversation = [Message("system", "Be brief."), {"role": "user", "content": "Hi"}]
    answer = await llm.generate(conversation, model="mirror")
    assert json.loads(answer.response) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]


async def test_many_streams_at_once_do_not_mix(llm: Client) -> None:
    said = [f"this is number {number} of all" for number in range(100)]
    streams = [llm.stream(text, model="echo") for text in said]
    assert await asyncio.gather(*map(text_of, streams)) == said


async def test_a_stream_that_ended_has_no_more_text(llm: Client) -> None:
    stream = llm.stream("once", model="echo")
    assert await text_of(stream) == "once"
    assert await text_of(stream) == ""


async def test_a_stream_that_failed_does_not_wait_for_ever(llm: Client) -> None:
    stream = llm.stream("x", model="no-such-model")
    with pytest.raises(WaifuError):
        await text_of(stream)
    assert await text_of(stream) == ""


@pytest.mark.parametrize("ask", [Client.generate, Client.stream])
async def test_what_is_no_json_is_refused_by_the_call(llm: Client, ask: Any) -> None:
    with pytest.raises(TypeError):
        await ask(llm, "x", model="echo", extra={"thing": object()})


# Loads


async def test_a_load_has_a_name_of_ones_choice(llm: Client) -> None:
    await llm.load("echo", alias="parrot")
    await llm.load("plain")
    answer = await llm.generate("hello", model="echo", provider="parrot")
    assert (answer.response, answer.provider) == ("hello", "parrot")


async def test_what_was_loaded_last_answers(llm: Client) -> None:
    await llm.load("plain")
    assert await llm.models() == ["mirror"]
    await llm.load("echo")
    assert (await llm.generate("hello", model="echo")).provider == "echo"


async def test_a_load_tells_how_far_it_is(start_module: StartModule) -> None:
    told: list[tuple[str, float, str]] = []
    async with connect(start_module().url) as llm:
        await llm.load("staged", on_progress=lambda *progress: told.append(progress))
    assert told[-1] == ("load", 0.5, "Reading weights.")
    assert ("start", 0.0, "Starting Staged.") in told


async def test_a_load_takes_a_key_an_address_and_settings(llm: Client) -> None:
    address = "https://elsewhere.example"
    await llm.load("keyed", api_key="key-7890", base_url=address, settings={"retries": 3})
    answer = await llm.generate("Who?", model="whoami")
    assert answer.response == "7890 at https://elsewhere.example"


@pytest.mark.parametrize(
    ("provider", "options", "error"),
    [
        ("no-such-provider", {}, InvalidProvider),
        ("keyed", {}, Authorization),
        ("keyed", {"api_key": "wrong-key"}, Authorization),
        ("echo", {"settings": {"size": 1}}, InvalidMessage),
        ("echo", {"base_url": "https://elsewhere.example"}, Unsupported),
        ("slow_load", {"settings": {"fail": True}}, OutOfMemory),
    ],
)
async def test_a_load_that_fails_says_how_by_its_class(
    llm: Client, provider: str, options: dict[str, Any], error: type[WaifuError]
) -> None:
    with pytest.raises(error):
        await llm.load(provider, **options)
    assert (await llm.generate("still here", model="echo")).response == "still here"


async def test_what_was_unloaded_answers_no_more(llm: Client) -> None:
    await llm.unload()
    with pytest.raises(NotLoaded, match="Nothing is loaded"):
        await llm.generate("hello", model="echo")


async def test_what_can_be_loaded_and_asked_is_listed(llm: Client) -> None:
    assert {"echo", "plain", "keyed"} <= set(await llm.providers())
    assert await llm.models() == ["echo", "count"]
    await llm.load("plain")
    assert await llm.models("echo") == ["echo", "count"]


async def test_the_module_says_what_it_is_and_does(llm: Client, module: Module) -> None:
    status = await llm.status()
    assert status["pid"] == module.process.pid
    assert status["boot_id"] == llm.info["boot_id"]
    assert "echo" in {load["provider"] for load in status["loads"]}


async def test_a_text_is_gone_on_with(llm: Client) -> None:
    assert (await llm.generate(Text("Once upon"), model="echo")).response == "Once upon"


async def test_texts_become_vectors(llm: Client) -> None:
    assert await llm.embed(["Hi there", "you"], model="echo") == [[8.0, 2.0], [3.0, 1.0]]
    with pytest.raises(InvalidModel):
        await llm.embed(["Hi"], model="none")


async def test_a_pull_tells_how_far_it_is(llm: Client) -> None:
    told: list[tuple[str, float, str]] = []
    await llm.pull("count", on_progress=lambda *step: told.append(step))
    assert told == [("pull", 1.0, "`count` is there.")]
