"""What is Anthropic's own way; what all vendors have in common is in test_vendors.py."""

from __future__ import annotations

import json

import pytest
from vendor import Vendor, sent

VENDOR = Vendor(
    name="anthropic",
    model="claude-new",
    models=["claude-new", "claude-old", "claude-thinker", "claude-small"],
    length="max_tokens",
    usage={"input_tokens": 9, "output_tokens": 3},
    refusals=[
        (400, {}, "INVALID_PROMPT"),
        (400, {"message": "prompt is too long: 210000 tokens > 200000 max"}, "CONTEXT_TOO_LONG"),
        (400, {"message": "Your credit balance is too low."}, "QUOTA_EXCEEDED"),
        (400, {"message": "Output blocked by content filtering policy"}, "CONTENT_FILTERED"),
        (400, {"message": "'claude-2.1' does not support tools."}, "UNSUPPORTED"),
        (401, {}, "AUTHORIZATION"),
        (402, {}, "QUOTA_EXCEEDED"),
        (403, {}, "AUTHORIZATION"),
        (404, {}, "INVALID_MODEL"),
        (413, {}, "CONTEXT_TOO_LONG"),
        (429, {}, "RATE_LIMITED"),
        (500, {}, "UNAVAILABLE"),
        (504, {}, "UNAVAILABLE"),
        (529, {}, "UNAVAILABLE"),
    ],
)
CALL = {"id": "c1", "name": "wave", "arguments": '{"to":"all"}'}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


# What it sends


async def test_a_request_carries_what_was_asked_in_the_vendor_s_words(wire, upstream) -> None:
    function = {"name": "wave", "description": "Waves.", "parameters": SCHEMA}
    params = {
        "max_output_length": 50,
        "stop_tokens": ["\n", "END"],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
        "tools": [
            {"type": "function", "function": function},
            {"type": "function", "function": {"name": "bow"}},
            {"type": "web_search_20260318", "name": "web_search"},
        ],
        "extra": {"tool_choice": {"type": "any"}},
    }
    await wire.final(VENDOR.ask(params=params))
    assert sent(upstream) == {
        "model": "claude-new",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
        "stream": True,
        "max_tokens": 50,
        "thinking": {"type": "disabled"},
        "stop_sequences": ["END"],
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
        "tools": [
            {"name": "wave", "description": "Waves.", "input_schema": SCHEMA},
            {"name": "bow", "input_schema": {"type": "object", "properties": {}}},
            {"type": "web_search_20260318", "name": "web_search"},
        ],
        "tool_choice": {"type": "any"},
    }


async def test_messages_alternate_and_what_the_system_says_stands_before_them(
    wire, upstream
) -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Look", "images": [{"mime": "image/png", "data": "aGk="}]},
        {"role": "user", "content": "there"},
        {"role": "assistant", "content": "Yes ", "tool_calls": [CALL]},
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Well?"},
        {"role": "tool", "tool_call_id": "c1", "content": "Waved."},
    ]
    await wire.final({**VENDOR.ask(), "messages": messages})
    body = sent(upstream)
    assert body["system"] == "Be kind.\n\nBe brief."
    source = {"type": "base64", "media_type": "image/png", "data": "aGk="}
    result = [{"type": "text", "text": "Waved."}]
    assert body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "image", "source": source},
                {"type": "text", "text": "Look"},
                {"type": "text", "text": "there"},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Yes"},
                {"type": "tool_use", "id": "c1", "name": "wave", "input": {"to": "all"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": result},
                {"type": "text", "text": "Well?"},
            ],
        },
    ]


async def test_a_system_message_alone_is_what_the_user_says(wire, upstream) -> None:
    await wire.final({**VENDOR.ask(), "messages": [{"role": "system", "content": "Greet."}]})
    body = sent(upstream)
    assert (body["messages"], "system" in body) == ([{"role": "user", "content": "Greet."}], False)


async def test_arguments_that_are_no_json_are_refused_before_they_are_sent(wire, upstream) -> None:
    broken = {**CALL, "arguments": "{"}
    messages = [
        {"role": "user", "content": "Wave"},
        {"role": "assistant", "tool_calls": [broken]},
        {"role": "tool", "tool_call_id": "c1", "content": "Waved."},
    ]
    final = await wire.final({**VENDOR.ask(), "messages": messages})
    assert (final["error"], upstream.posted()) == ("INVALID_PROMPT", [])


async def test_a_format_without_a_schema_is_refused(wire, upstream) -> None:
    final = await wire.final(VENDOR.ask(params={"response_format": {"type": "json_object"}}))
    assert (final["error"], upstream.posted()) == ("UNSUPPORTED", [])


@pytest.mark.parametrize(
    ("model", "sends", "thinking", "length"),
    [
        ("claude-new", False, {"type": "disabled"}, 8192),
        ("claude-new", True, {"type": "adaptive", "display": "summarized"}, 8192),
        ("claude-old", False, {"type": "disabled"}, 8192),
        ("claude-old", True, {"type": "enabled", "budget_tokens": 4096}, 8192 + 4096),
        ("claude-thinker", False, None, 8192),
        ("claude-small", False, None, 4096),
        ("claude-small", True, None, 4096),
    ],
)
async def test_a_model_thinks_only_where_it_is_asked_for_or_cannot_do_without(
    wire, upstream, model, sends, thinking, length
) -> None:
    params = {"model_id": model, "reasoning": "send" if sends else "drop"}
    await wire.final(VENDOR.ask(params=params))
    body = sent(upstream)
    assert (body.get("thinking"), body["max_tokens"]) == (thinking, length)


async def test_a_temperature_goes_to_the_models_that_take_one(wire, upstream) -> None:
    await wire.final(VENDOR.ask(params={"model_id": "claude-old", "temperature": 1.5}))
    assert sent(upstream)["temperature"] == 1
    assert upstream.posted()[-1]["headers"]["anthropic-version"] == "2023-06-01"


async def test_a_model_that_takes_no_temperature_is_asked_with_one_once(
    installed, dial, upstream
) -> None:
    async with dial(installed.url) as wire:
        await VENDOR.load(wire, upstream, key="sk-another-canary")
        upstream.forget()
        for _ in range(2):
            asked = VENDOR.ask(chunks=1, params={"temperature": 0.5})
            assert (await wire.final(asked))["response"] == " word"
    assert ["temperature" in each["body"] for each in upstream.posted()] == [True, False, False]


async def test_a_model_that_thinks_gets_no_temperature(wire, upstream) -> None:
    params = {"model_id": "claude-old", "temperature": 0.5, "reasoning": "send"}
    await wire.final(VENDOR.ask(params=params))
    assert "temperature" not in sent(upstream)


# What comes back


@both
async def test_the_thoughts_before_a_call_come_back_with_it(wire, upstream, stream) -> None:
    fake = {"chunks": 0, "reasoning": "A greeting.", "tool_calls": [CALL], "finish": "tool_use"}
    final = await wire.final(VENDOR.ask(stream, **fake))
    assert final["finish_reason"] == "tool_calls"
    messages = [
        {"role": "user", "content": "Wave"},
        {"role": "assistant", "tool_calls": final["tool_calls"]},
        {"role": "tool", "tool_call_id": "c1", "content": "Waved."},
    ]
    await wire.final({**VENDOR.ask(), "messages": messages})
    thinking, hidden, call = sent(upstream)["messages"][1]["content"]
    assert thinking == {
        "type": "thinking",
        "thinking": "A greeting.",
        "signature": "c2lnbmF0dXJl",
    }
    assert hidden == {"type": "redacted_thinking", "data": "aGlkZGVu"}
    assert call["input"] == json.loads(CALL["arguments"])


@both
async def test_a_refusal_without_a_word_is_an_error(wire, stream) -> None:
    details = {"stop_details": {"type": "refusal", "explanation": "It is about harm."}}
    fake = {"chunks": 0, "finish": "refusal", "more": details}
    final = await wire.final(VENDOR.ask(stream, **fake))
    assert (final["error"], "about harm" in final["message"]) == ("CONTENT_FILTERED", True)


@both
async def test_a_refusal_in_the_middle_keeps_what_was_said(wire, stream) -> None:
    final = await wire.final(VENDOR.ask(stream, chunks=1, finish="refusal"))
    assert (final["error"], final["response"]) == ("SUCCESS", " word")
    assert final["finish_reason"] == "content_filter"


async def test_an_error_inside_a_stream_is_told_in_our_words(wire) -> None:
    error = {"type": "rate_limit_error", "message": "Too much."}
    final = await wire.final(VENDOR.ask(chunks=1, end="error", error=error))
    assert (final["error"], final["response"]) == ("RATE_LIMITED", " word")


async def test_there_must_be_something_to_answer(wire, upstream) -> None:
    final = await wire.final({**VENDOR.ask(), "messages": [{"role": "user", "content": ""}]})
    assert (final["error"], upstream.posted()) == ("INVALID_PROMPT", [])
