"""What is Cohere's own way; what all vendors have in common is in test_vendors.py."""

from __future__ import annotations

import pytest
from vendor import KEY, Vendor, sent

VENDOR = Vendor(
    name="cohere",
    model="command-test",
    models=["command-test", "command-reasoning"],
    length="MAX_TOKENS",
    usage={"input_tokens": 9, "output_tokens": 3},
    refusals=[
        (400, {}, "INVALID_PROMPT"),
        (400, {"message": "too many tokens: size limit exceeded"}, "CONTEXT_TOO_LONG"),
        (
            400,
            {"message": "invalid request: tool use is not supported by the provided model: c4."},
            "UNSUPPORTED",
        ),
        (401, {}, "AUTHORIZATION"),
        (402, {}, "QUOTA_EXCEEDED"),
        (403, {}, "AUTHORIZATION"),
        (404, {}, "INVALID_MODEL"),
        (413, {}, "CONTEXT_TOO_LONG"),
        (422, {}, "INVALID_PROMPT"),
        (429, {}, "RATE_LIMITED"),
        (
            429,
            {"message": "You are using a Trial key, which is limited to 1000 calls / month."},
            "QUOTA_EXCEEDED",
        ),
        (498, {}, "CONTENT_FILTERED"),
        (499, {}, "UNAVAILABLE"),
        (500, {}, "UNAVAILABLE"),
        (503, {}, "UNAVAILABLE"),
    ],
)
CALL = {"id": "c1", "name": "wave", "arguments": '{"to":"all"}'}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


async def test_a_request_carries_what_was_asked_in_the_vendor_s_words(wire, upstream) -> None:
    tools = [{"type": "function", "function": {"name": "wave"}}]
    params = {
        "temperature": 3,
        "top_p": 1,
        "seed": 7,
        "penalties": {"presence": 2, "frequency": -1},
        "max_output_length": 50,
        "stop_tokens": ["a", "b", "c", "d", "e", "f"],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
        "tools": tools,
        "extra": {"safety_mode": "NONE"},
    }
    await wire.final(VENDOR.ask(params=params))
    assert sent(upstream) == {
        "model": "command-test",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "temperature": 1,
        "p": 0.99,
        "seed": 7,
        "presence_penalty": 1,
        "frequency_penalty": 0,
        "max_tokens": 50,
        "stop_sequences": ["a", "b", "c", "d", "e"],
        "response_format": {"type": "json_object", "json_schema": SCHEMA},
        "tools": tools,
        "safety_mode": "NONE",
    }


async def test_what_was_not_asked_is_not_sent(wire, upstream) -> None:
    await wire.final(VENDOR.ask(stream=False))
    assert sent(upstream).keys() == {"model", "messages", "stream"}
    assert upstream.posted()[0]["key"] == KEY


async def test_every_kind_of_message_is_sent_in_the_vendor_s_shape(wire, upstream) -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Look", "images": [{"mime": "image/png", "data": "aGk="}]},
        {"role": "assistant", "tool_calls": [{**CALL, "signature": "cohere:I will greet."}]},
        {"role": "tool", "tool_call_id": "c1", "content": "Waved."},
    ]
    await wire.final({**VENDOR.ask(), "messages": messages})
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    function = {"name": "wave", "arguments": '{"to":"all"}'}
    called = {"id": "c1", "type": "function", "function": function}
    assert sent(upstream)["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Look"}, image]},
        {"role": "assistant", "tool_calls": [called], "tool_plan": "I will greet."},
        {"role": "tool", "tool_call_id": "c1", "content": "Waved."},
    ]


@pytest.mark.parametrize(("reasoning", "kind"), [("send", "enabled"), ("drop", "disabled")])
async def test_a_model_that_can_think_is_told_whether_to(wire, upstream, reasoning, kind) -> None:
    params = {"model_id": "command-reasoning", "reasoning": reasoning}
    await wire.final(VENDOR.ask(params=params))
    assert sent(upstream)["thinking"] == {"type": kind}


async def test_texts_become_vectors_as_many_at_a_time_as_it_takes(embed, upstream) -> None:
    made = await embed("embed-test", ["ab"] * 95 + ["abc"] * 2)
    assert made.vectors == [[2, 0.5]] * 95 + [[3, 0.5]] * 2
    assert made.usage.input_tokens == 97
    assert [len(each["body"]["texts"]) for each in upstream.posted()] == [96, 1]


@both
async def test_the_plan_that_led_to_a_call_comes_back_with_it(wire, stream) -> None:
    fake = {"chunks": 0, "tool_calls": [CALL, {**CALL, "id": "c2"}], "finish": "TOOL_CALL"}
    final = await wire.final(VENDOR.ask(stream, **fake))
    first, second = final["tool_calls"]
    assert (final["finish_reason"], final["response"]) == ("tool_calls", "")
    assert (first["signature"], second.get("signature")) == ("cohere:I will greet.", None)


@both
async def test_a_block_without_a_word_is_an_error(wire, stream) -> None:
    final = await wire.final(VENDOR.ask(stream, chunks=0, finish="CONTENT_FILTER"))
    assert final["error"] == "CONTENT_FILTERED"


@both
async def test_a_model_that_fails_in_the_middle_is_told(wire, stream) -> None:
    final = await wire.final(VENDOR.ask(stream, chunks=1, finish="TIMEOUT"))
    assert (final["error"], final["response"]) == ("UNAVAILABLE", " word")
