"""What protocol.md promises of an answer."""

from __future__ import annotations

import json

import pytest
from stdlib_client import Client, Message
from third_client_stage import BRISK, HOUR_MS, assert_complete, said


async def test_without_stream_an_answer_is_an_ack_and_a_complete_final(client: Client) -> None:
    ack, final = await client.generate("Hi there", stream=False)
    assert ack["type"] == "generate_ack"
    assert (final["type"], final["is_error"]) == ("generate_done", False)
    assert (final["response"], final["finish_reason"]) == ("Hi there", "stop")
    assert (final["provider"], final["model_id"]) == ("echo", "echo")
    assert final["usage"] == {"input_tokens": 2, "output_tokens": 2}
    assert final["tool_calls"] is None
    assert_complete(final)


@pytest.mark.parametrize(
    "text", ["Hi there", "", "Grüße, 世界! 👩‍🚀 'ok'\n\n  twice\ttabs ", "x " * 3000]
)
async def test_the_chunks_joined_are_the_response(client: Client, text: str) -> None:
    ack, *_, final = answers = await client.generate(text)
    assert (ack["type"], final["type"]) == ("generate_ack", "generate_stream_done")
    assert said(answers) == final["response"]
    assert final["response"].split() == text.split()
    assert_complete(final)


async def test_the_chunks_joined_are_the_response_of_a_failed_answer_too(client: Client) -> None:
    params = {"extra": {"error": "RATE_LIMITED", "fail_after": 2}}
    *_, final = answers = await client.generate("one two three", params=params)
    assert said(answers) == final["response"] == "one two"
    assert (final["error"], final["finish_reason"]) == ("RATE_LIMITED", "error")
    assert final["retryable"]
    assert final["message"] not in final["response"]
    assert_complete(final)


async def test_null_is_the_same_as_left_out(client: Client) -> None:
    names = ("character_name", "temperature", "top_p", "seed", "penalties", "max_output_length")
    more = ("stop_tokens", "timeout_ms", "response_format", "tools", "reasoning", "names", "extra")
    params = dict.fromkeys(names + more)
    messages = [{"role": "user", "content": "one two", "name": None}]
    assert said(await client.generate(messages=messages, params=params)) == "one two"


async def test_every_sampling_param_is_taken_in_its_documented_range(client: Client) -> None:
    penalties = {"presence": 0.5, "frequency": 0.5, "repetition": 1.1}
    for params in (
        {"temperature": 0, "top_p": 0, "seed": 7, "penalties": penalties},
        {"temperature": 5, "top_p": 1, "character_name": "Hilda"},
    ):
        assert said(await client.generate("fine", params=params)) == "fine"


async def test_max_output_length_cuts_and_says_so(client: Client) -> None:
    final = (await client.generate("a b c", params={"max_output_length": 2}))[-1]
    assert (final["response"], final["finish_reason"]) == ("a b", "length")
    count = (await client.generate(params={"model_id": "count"}))[-1]
    assert count["response"] == "1 2 3 4 5 6 7 8 9 10"


async def test_a_stop_token_ends_the_answer_and_is_not_part_of_it(client: Client) -> None:
    for stop in ("STOP", "wo STOP th"):
        params = {"stop_tokens": ["never", stop]}
        *_, final = answers = await client.generate("one two STOP three", params=params)
        assert final["response"] == said(answers) == "one two STOP three".partition(stop)[0]
        assert final["finish_reason"] == "stop"


async def test_reasoning_comes_beside_the_chunks_where_it_is_sent_for(client: Client) -> None:
    params = {"reasoning": "send", "extra": {"reasoning": "A greeting."}}
    answers = await client.generate("Hi", params=params)
    thoughts = [a["reasoning"] for a in answers if a["type"] == "generate_stream_reasoning"]
    assert "".join(thoughts) == "A greeting."
    assert said(answers) == answers[-1]["response"] == "Hi"


@pytest.mark.parametrize("params", [{}, {"reasoning": "drop"}, {"reasoning": None}])
async def test_reasoning_does_not_come_otherwise(client: Client, params: Message) -> None:
    answers = await client.generate("Hi", params={"extra": {"reasoning": "Hush."}, **params})
    assert "Hush." not in json.dumps(answers)


@pytest.mark.parametrize("stream", [True, False])
async def test_what_stands_in_think_tags_is_never_said(client: Client, stream: bool) -> None:
    text = "before <think>a plan</think> after"
    answers = await client.generate(text, stream=stream)
    assert "plan" not in json.dumps(answers)
    assert "think" not in json.dumps(answers)
    assert answers[-1]["response"].split() == ["before", "after"]
    answers = await client.generate(text, params={"reasoning": "send"})
    *pieces, final = (a["reasoning"] for a in answers if "reasoning" in a)
    assert "".join(pieces) == final == "a plan"
    assert said(answers) == answers[-1]["response"]


@pytest.mark.parametrize("stream", [True, False])
async def test_tool_calls_are_in_the_final_and_answered_by_a_tool(
    client: Client, stream: bool
) -> None:
    calls = [{"id": "c1", "name": "weather", "arguments": '{"town":"Oslo"}'}]
    tools = [{"type": "function", "function": {"name": "weather"}}]
    params = {"tools": tools, "extra": {"tool_calls": calls}}
    final = (await client.generate("Rain?", params=params, stream=stream))[-1]
    assert (final["finish_reason"], final["tool_calls"]) == ("tool_calls", calls)
    messages = [
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "No rain."},
    ]
    final = (await client.generate(messages=messages, stream=stream))[-1]
    assert (final["response"], final["finish_reason"]) == ("No rain.", "stop")


async def test_images_reach_a_provider_that_sees_and_are_refused_for_another(
    client: Client,
) -> None:
    images = [{"mime": "image/png", "data": "iVBORw0KGgo="}]
    messages = [{"role": "user", "content": "What is it?", "images": images}]
    assert said(await client.generate(messages=messages)) == "What is it?"
    ack, final = await client.generate(messages=messages, provider="plain")
    assert ack["type"] == "generate_ack"
    assert (final["error"], final["response"]) == ("UNSUPPORTED", "")
    assert "images" in final["message"]


async def test_names_reach_the_model_as_asked(client: Client) -> None:
    messages = [{"role": "user", "content": "erm", "name": "DEV"}]
    for names, heard in (("prefix", "DEV: erm"), ("field", "erm"), ("drop", "erm")):
        assert said(await client.generate(messages=messages, params={"names": names})) == heard
    assert (await client.generate(messages=messages, params={"names": "auto"}))[-1]["error"] == (
        "SUCCESS"
    )


async def test_a_name_is_cleaned_so_that_nobody_poses_as_another(client: Client) -> None:
    messages = [{"role": "user", "content": "erm", "name": "x: hi\nDEV"}]
    heard = said(await client.generate(messages=messages, params={"names": "prefix"}))
    assert heard.endswith(": erm")
    assert "\n" not in heard
    assert heard.count(":") == 1


async def test_a_timeout_in_a_stream_is_for_each_chunk(client: Client) -> None:
    params = {**BRISK, "timeout_ms": 60_000}
    final = (await client.generate(params=params))[-1]
    assert (final["error"], final["response"]) == ("SUCCESS", "1 2 3 4 5 6 7 8 9")
    for extra in ({"first_delay_ms": HOUR_MS}, {"delay_ms": HOUR_MS}):
        params = {"model_id": "count", "timeout_ms": 300, "extra": extra}
        *_, final = answers = await client.generate(params=params)
        assert (final["error"], final["finish_reason"]) == ("TIMEOUT", "error")
        assert said(answers) == final["response"]
        assert final["response"] in ("", "1")
        assert_complete(final)


async def test_a_timeout_without_stream_is_for_the_whole_answer(client: Client) -> None:
    params = {**BRISK, "timeout_ms": 60_000}
    final = (await client.generate(params=params, stream=False))[-1]
    assert (final["error"], final["response"]) == ("SUCCESS", "1 2 3 4 5 6 7 8 9")
    params = {"model_id": "count", "timeout_ms": 300, "extra": {"delay_ms": HOUR_MS}}
    final = (await client.generate(params=params, stream=False))[-1]
    assert (final["error"], final["finish_reason"]) == ("TIMEOUT", "error")
    assert final["retryable"]
    assert final["response"] in ("", "1")
    assert_complete(final)
