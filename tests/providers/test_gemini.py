"""What is Gemini's own way; what all vendors have in common is in test_vendors.py."""

from __future__ import annotations

import pytest
from vendor import KEY, Vendor, sent

VENDOR = Vendor(
    name="gemini",
    model="gemini-plain",
    models=["gemini-flash", "gemini-next", "gemini-thinker", "gemini-plain"],
    length="MAX_TOKENS",
    usage={"input_tokens": 9, "output_tokens": 3},
    refusals=[
        (400, {}, "INVALID_PROMPT"),
        (400, {"message": "API key not valid. Please pass a valid API key."}, "AUTHORIZATION"),
        (
            400,
            {"message": "User location is wrong.", "status": "FAILED_PRECONDITION"},
            "AUTHORIZATION",
        ),
        (
            400,
            {"message": "The input token count (1200000) exceeds the maximum number of tokens."},
            "CONTEXT_TOO_LONG",
        ),
        (
            400,
            {"message": "Function calling is not enabled for models/gemma-3-12b-it"},
            "UNSUPPORTED",
        ),
        (401, {}, "AUTHORIZATION"),
        (403, {}, "AUTHORIZATION"),
        (404, {}, "INVALID_MODEL"),
        (413, {}, "CONTEXT_TOO_LONG"),
        (429, {}, "RATE_LIMITED"),
        (429, {"message": "Your prepayment credits are depleted."}, "QUOTA_EXCEEDED"),
        (500, {}, "UNAVAILABLE"),
        (503, {}, "UNAVAILABLE"),
        (504, {}, "UNAVAILABLE"),
    ],
)
CALL = {"id": "c1", "name": "wave", "arguments": '{"to":"all"}'}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


# What it sends


async def test_a_request_carries_what_was_asked_in_the_vendor_s_words(wire, upstream) -> None:
    function = {"name": "wave", "description": "Waves.", "parameters": SCHEMA}
    params = {
        "temperature": 3,
        "top_p": 0.9,
        "seed": 7,
        "penalties": {"presence": 1, "frequency": -1},
        "max_output_length": 50,
        "stop_tokens": ["a", "b", "c", "d", "e", "f"],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
        "tools": [
            {"type": "function", "function": function},
            {"type": "function", "function": {"name": "bow"}},
            {"googleSearch": {}},
        ],
        "extra": {"generationConfig": {"topK": 40}, "safetySettings": []},
    }
    await wire.final(VENDOR.ask(params=params))
    declared = [
        {"name": "wave", "description": "Waves.", "parametersJsonSchema": SCHEMA},
        {"name": "bow"},
    ]
    assert sent(upstream) == {
        "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
        "generationConfig": {
            "temperature": 2,
            "topP": 0.9,
            "seed": 7,
            "presencePenalty": 1,
            "frequencyPenalty": -1,
            "maxOutputTokens": 50,
            "stopSequences": ["a", "b", "c", "d", "e"],
            "responseMimeType": "application/json",
            "responseJsonSchema": SCHEMA,
            "topK": 40,
        },
        "tools": [{"functionDeclarations": declared}, {"googleSearch": {}}],
        "safetySettings": [],
    }


async def test_what_was_not_asked_is_not_sent(wire, upstream) -> None:
    await wire.final(VENDOR.ask(stream=False))
    assert sent(upstream).keys() == {"contents", "generationConfig"}
    assert sent(upstream)["generationConfig"] == {}
    assert upstream.posted()[0]["key"] == KEY


async def test_a_temperature_of_nothing_is_one(wire, upstream) -> None:
    await wire.final(VENDOR.ask(params={"temperature": 0}))
    assert sent(upstream)["generationConfig"] == {"temperature": 0}


async def test_messages_alternate_and_what_the_system_says_stands_before_them(
    wire, upstream
) -> None:
    signed = {**CALL, "signature": "gemini:c2ln"}
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Look", "images": [{"mime": "image/png", "data": "aGk="}]},
        {"role": "user", "content": "there"},
        {"role": "assistant", "content": "Yes", "tool_calls": [signed]},
        {"role": "tool", "tool_call_id": "c1", "content": "Waved."},
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Well?"},
    ]
    await wire.final({**VENDOR.ask(), "messages": messages})
    body = sent(upstream)
    call = {"id": "c1", "name": "wave", "args": {"to": "all"}}
    result = {"id": "c1", "name": "wave", "response": {"result": "Waved."}}
    assert body["systemInstruction"] == {"parts": [{"text": "Be kind.\n\nBe brief."}]}
    assert body["contents"] == [
        {
            "role": "user",
            "parts": [
                {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
                {"text": "Look"},
                {"text": "there"},
            ],
        },
        {
            "role": "model",
            "parts": [{"text": "Yes"}, {"functionCall": call, "thoughtSignature": "c2ln"}],
        },
        {"role": "user", "parts": [{"functionResponse": result}, {"text": "Well?"}]},
    ]


async def test_a_result_of_no_call_is_refused_before_it_is_sent(wire, upstream) -> None:
    messages = [{"role": "tool", "tool_call_id": "c1", "content": "Waved."}]
    final = await wire.final({**VENDOR.ask(), "messages": messages})
    assert (final["error"], upstream.posted()) == ("INVALID_PROMPT", [])


@pytest.mark.parametrize(
    ("model", "quiet"),
    [
        ("gemini-flash", {"thinkingBudget": 0}),
        ("gemini-next", {"thinkingLevel": "low"}),
        ("gemini-thinker", None),
        ("gemini-plain", None),
    ],
)
async def test_how_a_model_is_told_not_to_think_is_found_out_once(
    wire, upstream, model, quiet
) -> None:
    asked = VENDOR.ask(chunks=1, params={"model_id": model})
    assert (await wire.final(asked))["response"] == " word"
    upstream.forget()
    assert (await wire.final(asked))["response"] == " word"
    (entry,) = upstream.posted()
    assert entry["body"]["generationConfig"].get("thinkingConfig") == quiet


async def test_a_model_thinks_aloud_where_it_is_asked_for(wire, upstream) -> None:
    await wire.final(VENDOR.ask(params={"model_id": "gemini-flash", "reasoning": "send"}))
    assert sent(upstream)["generationConfig"] == {"thinkingConfig": {"includeThoughts": True}}


async def test_texts_become_vectors_a_hundred_at_a_time(embed, upstream) -> None:
    made = await embed("gemini-embedding", ["ab"] * 99 + ["abc"] * 2)
    assert made.vectors == [[2, 0.5]] * 99 + [[3, 0.5]] * 2
    assert [len(each["body"]["requests"]) for each in upstream.posted()] == [100, 1]


# What comes back


@both
async def test_each_call_comes_with_what_the_vendor_wants_to_see_again(wire, stream) -> None:
    calls = [CALL, {**CALL, "id": "", "name": "bow"}]
    final = await wire.final(VENDOR.ask(stream, chunks=0, tool_calls=calls))
    first, second = final["tool_calls"]
    assert final["finish_reason"] == "tool_calls"
    assert (first["id"], first["signature"]) == ("c1", "gemini:c2lnbmF0dXJl-wave")
    assert second["id"].startswith("call_")
    assert second["signature"] == "gemini:c2lnbmF0dXJl-bow"


@both
async def test_a_block_without_a_word_is_an_error(wire, stream) -> None:
    final = await wire.final(VENDOR.ask(stream, chunks=0, finish="PROHIBITED_CONTENT"))
    assert (final["error"], "PROHIBITED_CONTENT" in final["message"]) == ("CONTENT_FILTERED", True)


@both
async def test_a_prompt_that_is_blocked_is_an_error(wire, stream) -> None:
    blocked = {"candidates": [], "promptFeedback": {"blockReason": "SAFETY"}}
    final = await wire.final(VENDOR.ask(stream, chunks=0, more=blocked))
    assert (final["error"], "SAFETY" in final["message"]) == ("CONTENT_FILTERED", True)


@both
async def test_a_block_in_the_middle_keeps_what_was_said(wire, stream) -> None:
    final = await wire.final(VENDOR.ask(stream, chunks=1, finish="SAFETY"))
    assert (final["error"], final["response"]) == ("SUCCESS", " word")
    assert final["finish_reason"] == "content_filter"


async def test_thoughts_are_counted_as_what_is_said(wire) -> None:
    final = await wire.final(VENDOR.ask(chunks=3, reasoning="Hm."))
    assert final["usage"] == {"input_tokens": 9, "output_tokens": 3}


async def test_a_rate_limit_tells_how_long_to_wait_in_its_details(wire) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37.5s"}
    final = await wire.final(VENDOR.ask(status=429, error={"details": [info]}))
    assert (final["error"], final["retry_after_ms"]) == ("RATE_LIMITED", 37_500)


async def test_an_error_inside_a_stream_is_told_in_our_words(wire) -> None:
    error = {"status": "RESOURCE_EXHAUSTED", "message": "Too much."}
    final = await wire.final(VENDOR.ask(chunks=1, end="error", error=error))
    assert (final["error"], final["response"]) == ("RATE_LIMITED", " word")


async def test_there_must_be_something_to_answer(wire, upstream) -> None:
    final = await wire.final({**VENDOR.ask(), "messages": [{"role": "user", "content": ""}]})
    assert (final["error"], upstream.posted()) == ("INVALID_PROMPT", [])
