"""The OpenAI provider, installed from its lock, against an upstream that speaks the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from fake_upstreams.running import RunningUpstream, running_upstream
from support import LIMIT, Module, Wire, chunks
from vendor import ask_faked, at_any_moment, is_interrupted_upstream

KEY = "sk-right-canary-0123456789"
MODEL = "gpt-test"
CALL = {"id": "c1", "type": "function", "function": {"name": "wave", "arguments": '{"to":"all"}'}}


@pytest.fixture(scope="module")
def upstream() -> Iterator[RunningUpstream]:
    with running_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def installed(openai_installed: None, start_module: Callable[..., Module]) -> Module:
    return start_module()


@pytest.fixture
async def wire(
    installed: Module, upstream: RunningUpstream, dial: Callable[..., Any]
) -> AsyncIterator[Wire]:
    async with dial(installed.url) as wire:
        loaded = await load(wire, upstream)
        assert loaded["error"] == "SUCCESS", loaded
        upstream.forget()
        yield wire


async def load(wire: Wire, upstream: RunningUpstream, key: str = KEY, **more: Any) -> Any:
    return await wire.load("openai", api_key=key, base_url=upstream.base_url, **more)


def ask(stream: bool = True, model: str = MODEL, params: Any = None, **fake: Any) -> Any:
    return ask_faked(model, stream, params, fake)


both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


# What it sends


async def test_a_request_carries_what_was_asked_in_the_vendor_s_words(wire, upstream) -> None:
    params = {
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "penalties": {"presence": 1, "frequency": -1},
        "max_output_length": 50,
        "stop_tokens": ["a", "b", "c", "d", "e"],
        "response_format": {"type": "json_object"},
        "tools": [{"type": "function", "function": {"name": "wave"}}],
        "extra": {"reasoning_effort": "low"},
    }
    await wire.final(ask(params=params))
    body = upstream.completions()[0]["body"]
    del body["fake"]
    assert body == {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Hello"}],
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "presence_penalty": 1,
        "frequency_penalty": -1,
        "max_tokens": 50,
        "stop": ["a", "b", "c", "d"],
        "response_format": {"type": "json_object"},
        "tools": [{"type": "function", "function": {"name": "wave"}}],
        "reasoning_effort": "low",
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_what_was_not_asked_is_not_sent(wire, upstream) -> None:
    await wire.final(ask(stream=False))
    entry = upstream.completions()[0]
    assert entry["body"].keys() == {"model", "messages", "fake"}
    assert entry["key"] == KEY


async def test_every_kind_of_message_is_sent_in_the_vendor_s_shape(wire, upstream) -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Look", "images": [{"mime": "image/png", "data": "aGk="}]},
        {
            "role": "assistant",
            "tool_calls": [{"id": "c1", "name": "wave", "arguments": "{}"}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "Waved."},
    ]
    await wire.final({**ask(), "messages": messages})
    function = {"name": "wave", "arguments": "{}"}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    assert upstream.completions()[0]["body"]["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Look"}, image]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "Waved.", "tool_call_id": "c1"},
    ]


async def test_names_are_sent_as_the_api_takes_them_and_stay_apart(wire, upstream) -> None:
    names = ["Anna Lee", "Anna_Lee", "かな", "a<b>/c", "x" * 64, "x" * 64 + "y"]
    messages = [{"role": "user", "content": "hi", "name": name} for name in names]
    await wire.final({**ask(), "messages": messages})
    sent = [each["name"] for each in upstream.completions()[0]["body"]["messages"]]
    assert sent[2:4] == ["かな", "a_b_c"]
    assert len(set(sent[:4])) == 4
    assert not any(character in name for name in sent for character in " <>/\\|")
    assert all(len(name) <= 64 for name in sent)


async def test_a_penalty_that_the_api_lacks_is_refused(wire) -> None:
    final = await wire.final(ask(params={"penalties": {"repetition": 1.1}}))
    assert (final["error"], "repetition" in final["message"]) == ("UNSUPPORTED", True)


@both
async def test_a_server_that_wants_other_words_is_understood_once(wire, upstream, stream) -> None:
    params = {"max_output_length": 5, "stop_tokens": ["zzz"]}
    fake = {"refuse_fields": ["max_completion_tokens", "stop"], "chunks": 2}
    for _ in range(2):
        assert (await wire.final(ask(stream, params=params, **fake)))["response"] == " word word"
    last = upstream.completions()[-1]["body"]
    assert (last["max_tokens"], "stop" in last) == (5, False)


# What comes back


@both
async def test_an_answer_comes_with_its_end_and_its_count(wire, stream) -> None:
    final = await wire.final(ask(stream, chunks=3, finish_reason="length"))
    assert (final["error"], final["response"]) == ("SUCCESS", " word word word")
    assert (final["finish_reason"], final["model_id"]) == ("length", MODEL)
    assert final["usage"] == {"input_tokens": 9, "output_tokens": 3}


async def test_a_stream_is_said_as_it_comes(wire) -> None:
    await wire.send(ask(text=["Hello", " かな", " 😀"], delay_ms=5))
    messages = await wire.until("generate_stream_done")
    assert chunks(messages) == messages[-1]["response"] == "Hello かな 😀"


@both
async def test_what_a_model_thinks_is_not_spoken(wire, stream) -> None:
    final = await wire.final(ask(stream, chunks=1, reasoning="A greeting."))
    assert final["response"] == " word"


async def test_what_a_model_thinks_is_told_to_those_who_ask(wire) -> None:
    await wire.send(ask(chunks=1, reasoning="A greeting.", params={"reasoning": "send"}))
    messages = await wire.until("generate_stream_done")
    thoughts = [each.get("reasoning") for each in messages if each["type"].endswith("reasoning")]
    assert thoughts == ["A greeting."]


@both
async def test_tool_calls_are_put_together(wire, stream) -> None:
    other = {**CALL, "id": "c2", "function": {"name": "bow", "arguments": "{}"}}
    fake = {"chunks": 0, "tool_calls": [CALL, other], "finish_reason": "tool_calls"}
    final = await wire.final(ask(stream, **fake))
    assert final["finish_reason"] == "tool_calls"
    assert final["tool_calls"] == [
        {"id": "c1", "name": "wave", "arguments": '{"to":"all"}'},
        {"id": "c2", "name": "bow", "arguments": "{}"},
    ]


@both
async def test_a_stop_token_ends_the_answer_and_the_connection(wire, upstream, stream) -> None:
    fake = {"text": ["one", " two", " th", "ree"], "delay_ms": 5, "end": "silence"}
    fake = fake if stream else {"text": fake["text"]}
    final = await wire.final(ask(stream, params={"stop_tokens": [" thr"]}, **fake))
    assert (final["response"], final["finish_reason"]) == ("one two", "stop")
    await upstream.until(lambda log: log[0]["state"] != "running", LIMIT)


async def test_models_are_the_account_s(wire) -> None:
    answer = await wire.ask({"type": "get_models", "provider": "openai"})
    assert answer["models"] == ["gpt-test", "gpt-test-mini"]


# Interrupts


@both
@at_any_moment
async def test_an_interrupt_closes_the_vendor_s_connection(wire, upstream, stream, when) -> None:
    assert await is_interrupted_upstream(ask, wire, upstream, stream, when)


async def test_a_client_that_goes_away_closes_it_too(installed, dial, upstream) -> None:
    async with dial(installed.url) as wire:
        await load(wire, upstream)
        upstream.forget()
        await wire.send(ask(delay_ms=20, chunks=100_000))
        await wire.until("generate_stream_chunk")
    log = await upstream.until(lambda log: log[0]["state"] != "running", LIMIT)
    assert log[0]["state"] == "aborted"


# What goes wrong


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (400, {"message": "`tool calling` is not supported with this model"}),
        (400, {"message": "tiny does not support tools"}),
        (400, {"message": '"auto" tool choice requires --enable-auto-tool-choice to be set'}),
        (404, {"message": "No endpoints found that support tool use.", "code": 404}),
        (500, {"message": "tools param requires --jinja flag", "type": "server_error"}),
        (500, {"message": "Unsupported param: tools", "type": "server_error"}),
        (
            400,
            {"message": "tiny does not support Function Calling", "code": "invalid_request_error"},
        ),
        (405, {"message": "Tool calling is not supported for model: tiny", "code": "405"}),
        (400, {"message": "Function calling with this mime type is unsupported"}),
    ],
    ids=[
        *("groq", "ollama", "vllm", "openrouter", "llamacpp", "llamacpp before", "deepseek"),
        *("deepinfra", "gemini"),
    ],
)
async def test_a_model_without_tools_is_told_apart(wire, upstream, status, told) -> None:
    """Whoever asks can ask without."""
    final = await wire.final(ask(True, status=status, error=told))
    assert final["error"] == "UNSUPPORTED"
    assert len(upstream.completions()) == 1


@both
@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, {"code": "context_length_exceeded"}, "CONTEXT_TOO_LONG"),
        (400, {"message": "the maximum context length is 8192 tokens"}, "CONTEXT_TOO_LONG"),
        (400, {"code": "content_policy_violation"}, "CONTENT_FILTERED"),
        (400, {"code": "content_filter"}, "CONTENT_FILTERED"),
        (400, {"code": "unsupported_value", "param": "temperature"}, "UNSUPPORTED"),
        (400, {"param": "messages[0].content"}, "INVALID_PROMPT"),
        (401, {"code": "invalid_api_key"}, "AUTHORIZATION"),
        (402, {}, "QUOTA_EXCEEDED"),
        (403, {"code": "unsupported_country_region_territory"}, "AUTHORIZATION"),
        (404, {"code": "model_not_found"}, "INVALID_MODEL"),
        (413, {}, "CONTEXT_TOO_LONG"),
        (429, {"code": "insufficient_quota"}, "QUOTA_EXCEEDED"),
        (429, {"code": "rate_limit_exceeded"}, "RATE_LIMITED"),
        (500, {"type": "server_error"}, "UNAVAILABLE"),
        (502, {}, "UNAVAILABLE"),
        (503, {}, "UNAVAILABLE"),
        (529, {}, "UNAVAILABLE"),
    ],
)
async def test_a_refusal_is_told_in_our_words(wire, upstream, stream, status, error, code) -> None:
    error = {"message": "That is not possible.", **error}
    final = await wire.final(ask(stream, status=status, error=error))
    assert (final["error"], final["message"]) == (code, error["message"])
    assert (final["response"], final["finish_reason"]) == ("", "error")
    assert len(upstream.completions()) == 1


@pytest.mark.parametrize(
    ("headers", "milliseconds"),
    [
        ({"retry-after": "7"}, 7000),
        ({"retry-after-ms": "250", "retry-after": "1"}, 250),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0.5s"}, 360_500),
        ({"x-ratelimit-reset-requests": "20ms"}, 20),
        ({"retry-after": "nonsense"}, None),
        ({}, None),
    ],
)
async def test_a_rate_limit_tells_how_long_to_wait(wire, headers, milliseconds) -> None:
    final = await wire.final(ask(status=429, headers=headers))
    assert (final["error"], final.get("retry_after_ms")) == ("RATE_LIMITED", milliseconds)


async def test_a_model_that_is_not_there_is_told(wire) -> None:
    final = await wire.final(ask(model="gpt-nothing"))
    assert (final["error"], "`gpt-nothing`" in final["message"]) == ("INVALID_MODEL", True)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("cut", "UNAVAILABLE"),
        ("reset", "UNAVAILABLE"),
        ("no_done", "UNAVAILABLE"),
        ("error", "UNAVAILABLE"),
        ("nonsense", "UNEXPECTED"),
    ],
)
async def test_a_stream_that_breaks_off_keeps_what_was_said(wire, end, code) -> None:
    final = await wire.final(ask(chunks=3, end=end))
    assert (final["error"], final["response"]) == (code, " word word word")


async def test_a_stream_that_comes_compressed_is_read_as_it_comes(wire) -> None:
    await wire.send(ask(chunks=1, gzip=True, end="silence"))
    assert (await wire.until("generate_stream_chunk"))[-1]["chunk"] == " word"
    await wire.send({"type": "interrupt", "unique_request_id": "stop"})
    assert (await wire.until("generate_stream_done"))[-1]["response"] == " word"


async def test_a_stream_that_comes_compressed_is_read_whole(wire) -> None:
    final = await wire.final(ask(chunks=100, gzip=True))
    assert (final["error"], final["response"]) == ("SUCCESS", " word" * 100)


async def test_an_error_inside_a_stream_is_told_in_our_words(wire) -> None:
    error = {"message": "Too much.", "code": "rate_limit_exceeded"}
    final = await wire.final(ask(chunks=1, end="error", error=error))
    assert (final["error"], final["response"]) == ("RATE_LIMITED", " word")


async def test_a_whole_answer_that_is_cut_is_no_answer(wire) -> None:
    assert (await wire.final(ask(stream=False, end="cut")))["error"] == "UNAVAILABLE"


async def test_a_server_that_hangs_is_given_up_when_the_client_said_so(wire, upstream) -> None:
    final = await wire.final(ask(chunks=1, end="silence", params={"timeout_ms": 200}))
    assert (final["error"], final["response"]) == ("TIMEOUT", " word")
    await upstream.until(lambda log: log[0]["state"] == "aborted", LIMIT)


async def test_a_wrong_key_is_told_at_load_without_being_shown(installed, dial, upstream) -> None:
    async with dial(installed.url) as wire:
        loaded = await load(wire, upstream, key="wrong-canary-0123456789")
    assert (loaded["error"], "Incorrect API key" in loaded["message"]) == ("AUTHORIZATION", True)
    assert "canary" not in loaded["message"]


async def test_a_server_that_is_not_there_is_told_at_load(installed, dial) -> None:
    async with dial(installed.url) as wire:
        nowhere = "http://127.0.0.1:9/v1"
        loaded = await wire.load("openai", api_key=KEY, base_url=nowhere)
    assert (loaded["error"], loaded["retryable"]) == ("UNAVAILABLE", True)


async def test_no_key_is_no_load(installed, dial, upstream) -> None:
    async with dial(installed.url) as wire:
        loaded = await wire.load("openai", base_url=upstream.base_url)
    there = upstream.base_url.removesuffix("/v1")
    assert (loaded["error"], there in loaded["message"]) == ("AUTHORIZATION", True)


async def test_another_server_needs_a_key_of_its_own(start_module, dial, upstream) -> None:
    module = start_module(OPENAI_API_KEY="sk-operator-canary")
    upstream.forget()
    async with dial(module.url) as wire:
        loaded = await wire.load("openai", base_url=upstream.base_url)
    assert loaded["error"] == "AUTHORIZATION"
    assert upstream.log() == []
