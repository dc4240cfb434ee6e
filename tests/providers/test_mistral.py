"""What is Mistral's own way; what all vendors have in common is in test_vendors.py."""

from __future__ import annotations

import re

import pytest
from vendor import KEY, Vendor, sent

VENDOR = Vendor(
    name="mistral",
    model="mistral-test",
    models=["mistral-test", "mistral-thinker"],
    length="model_length",
    usage={"input_tokens": 9, "output_tokens": 3},
    refusals=[
        (400, {}, "INVALID_PROMPT"),
        (400, {"type": "invalid_model"}, "INVALID_MODEL"),
        (
            400,
            {"message": "Prompt contains 70000 tokens, too large for model with 32768."},
            "CONTEXT_TOO_LONG",
        ),
        (400, {"message": "Function calling is not enabled for this model"}, "UNSUPPORTED"),
        (401, {}, "AUTHORIZATION"),
        (402, {}, "QUOTA_EXCEEDED"),
        (403, {}, "AUTHORIZATION"),
        (404, {}, "INVALID_MODEL"),
        (413, {}, "CONTEXT_TOO_LONG"),
        (422, {}, "INVALID_PROMPT"),
        (429, {}, "RATE_LIMITED"),
        (429, {"type": "service_tier_capacity_exceeded"}, "UNAVAILABLE"),
        (500, {}, "UNAVAILABLE"),
        (503, {}, "UNAVAILABLE"),
    ],
)
CALL = {"id": "call_abc", "name": "wave", "arguments": '{"to":"all"}'}
both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


async def test_a_request_carries_what_was_asked_in_the_vendor_s_words(wire, upstream) -> None:
    tools = [{"type": "function", "function": {"name": "wave"}}]
    params = {
        "temperature": 3,
        "top_p": 0.9,
        "seed": 7,
        "penalties": {"presence": 1, "frequency": -1, "repetition": 1.1},
        "max_output_length": 50,
        "stop_tokens": ["a"],
        "response_format": {"type": "json_object"},
        "tools": tools,
        "extra": {"safe_prompt": True},
    }
    await wire.final(VENDOR.ask(params=params))
    assert sent(upstream) == {
        "model": "mistral-test",
        "messages": [{"role": "user", "content": "Hello"}],
        "temperature": 1.5,
        "top_p": 0.9,
        "random_seed": 7,
        "presence_penalty": 1,
        "frequency_penalty": -1,
        "repetition_penalty": 1.1,
        "max_tokens": 50,
        "stop": ["a"],
        "response_format": {"type": "json_object"},
        "tools": tools,
        "stream": True,
        "safe_prompt": True,
    }


async def test_what_was_not_asked_is_not_sent(wire, upstream) -> None:
    await wire.final(VENDOR.ask(stream=False))
    assert sent(upstream).keys() == {"model", "messages"}
    assert upstream.posted()[0]["key"] == KEY


async def test_the_system_speaks_first_and_nobody_twice_in_a_row(wire, upstream) -> None:
    messages = [
        {"role": "user", "content": "Look", "images": [{"mime": "image/png", "data": "aGk="}]},
        {"role": "user", "content": "there"},
        {"role": "system", "content": "Be kind."},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_abc", "content": "Waved."},
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": "Well,"},
    ]
    await wire.final({**VENDOR.ask(), "messages": messages})
    system, user, called, result, begun = sent(upstream)["messages"]
    assert system == {"role": "system", "content": "Be kind.\n\nBe brief."}
    assert user["content"] == [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": "data:image/png;base64,aGk="},
        {"type": "text", "text": "there"},
    ]
    (call,) = called["tool_calls"]
    assert re.fullmatch("[A-Za-z0-9]{9}", call["id"])
    assert call["function"] == {"name": "wave", "arguments": '{"to":"all"}'}
    assert (result["tool_call_id"], result["content"]) == (call["id"], "Waved.")
    assert begun == {"role": "assistant", "content": "Well,", "prefix": True}


@pytest.mark.parametrize(("reasoning", "effort"), [("send", "high"), ("drop", "none")])
async def test_a_model_that_thinks_when_told_to_is_told(wire, upstream, reasoning, effort) -> None:
    params = {"model_id": "mistral-thinker", "reasoning": reasoning}
    await wire.final(VENDOR.ask(params=params))
    assert sent(upstream)["reasoning_effort"] == effort


async def test_texts_become_vectors_a_hundred_at_a_time(embed, upstream) -> None:
    made = await embed("mistral-embed", ["ab"] * 99 + ["abc"] * 2)
    assert made.vectors == [[2, 0.5]] * 99 + [[3, 0.5]] * 2
    assert made.usage.input_tokens == 101
    assert [len(each["body"]["input"]) for each in upstream.posted()] == [100, 1]


@both
async def test_a_model_that_fails_in_the_middle_is_told(wire, stream) -> None:
    final = await wire.final(VENDOR.ask(stream, chunks=1, finish="error"))
    assert (final["error"], final["response"]) == ("UNAVAILABLE", " word")


async def test_an_error_inside_a_stream_is_told_in_our_words(wire) -> None:
    error = {"type": "rate_limited", "message": "Too much."}
    final = await wire.final(VENDOR.ask(chunks=1, end="error", error=error))
    assert (final["error"], final["response"]) == ("RATE_LIMITED", " word")
