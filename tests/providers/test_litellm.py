"""The bridge to the long tail, installed from its lock, against an upstream of OpenAI's wire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_upstreams.running import RunningUpstream, running_upstream
from support import Module, Wire, chunks, generate
from vendor import at_any_moment, is_interrupted_upstream

from waifu_llm.paths import bundled_providers
from waifu_llm.specs import ProviderSpec

KEY = "sk-right-canary-0123456789"
MODEL = "openai/gpt-test"
SPEC = ProviderSpec.from_folder(bundled_providers() / "litellm")
CALL = {"id": "c1", "type": "function", "function": {"name": "wave", "arguments": '{"to":"all"}'}}


@pytest.fixture(scope="module")
def upstream() -> Iterator[RunningUpstream]:
    with running_upstream() as upstream:
        yield upstream


@pytest.fixture
async def wire(
    python_for: Callable[[ProviderSpec], Awaitable[Path]],
    module: Module,
    upstream: RunningUpstream,
    dial: Callable[..., Any],
) -> AsyncIterator[Wire]:
    await python_for(SPEC)
    async with dial(module.url) as wire:
        loaded = await wire.load("litellm", api_key=KEY, base_url=upstream.base_url)
        assert loaded["error"] == "SUCCESS", loaded
        upstream.forget()
        yield wire


def ask(stream: bool = True, model: str = MODEL, params: Any = None, **fake: Any) -> Any:
    extra = {"extra_body": {"fake": fake}}
    return generate(model=model, stream=stream, params={**(params or {}), "extra": extra})


both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


async def test_a_request_carries_what_was_asked_to_the_vendor(wire, upstream) -> None:
    params = {
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "penalties": {"presence": 1, "frequency": -1},
        "max_output_length": 50,
        "stop_tokens": ["a"],
        "tools": [{"type": "function", "function": {"name": "wave"}}],
    }
    await wire.final(ask(params=params))
    asked = upstream.completions()[0]
    del asked["body"]["fake"]
    assert asked["key"] == KEY
    assert asked["body"] == {
        "model": "gpt-test",
        "messages": [{"role": "user", "content": "hello there"}],
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "presence_penalty": 1,
        "frequency_penalty": -1,
        "max_tokens": 50,
        "stop": ["a"],
        "tools": [{"type": "function", "function": {"name": "wave"}}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@both
async def test_an_answer_comes_with_its_end_and_its_count(wire, stream) -> None:
    final = await wire.final(ask(stream, chunks=3, finish_reason="length"))
    assert (final["error"], final["response"]) == ("SUCCESS", " word word word")
    assert (final["finish_reason"], final["model_id"]) == ("length", MODEL)
    assert final["usage"] == {"input_tokens": 9, "output_tokens": 3}


async def test_a_stream_that_comes_byte_by_byte_is_read_as_it_was_said(wire) -> None:
    await wire.send(ask(text=["Hello", " かな", " 😀"], split=True, keep_alive=2))
    messages = await wire.until("generate_stream_done")
    assert chunks(messages) == messages[-1]["response"] == "Hello かな 😀"


@both
async def test_thoughts_and_calls_come_beside_the_text(wire, stream) -> None:
    fake = {"chunks": 0, "tool_calls": [CALL], "finish_reason": "tool_calls", "reasoning": "Hm."}
    await wire.send(ask(stream, params={"reasoning": "send"}, **fake))
    messages = await wire.until("generate_stream_done", "generate_done")
    thoughts = [each["reasoning"] for each in messages if each["type"].endswith("_reasoning")]
    assert (messages[-1]["response"], messages[-1]["finish_reason"]) == ("", "tool_calls")
    assert messages[-1]["tool_calls"] == [
        {"id": "c1", "name": "wave", "arguments": '{"to":"all"}'},
    ]
    assert not stream or thoughts == ["Hm."]


@both
@at_any_moment
async def test_an_interrupt_closes_the_vendor_s_connection(wire, upstream, stream, when) -> None:
    assert await is_interrupted_upstream(ask, wire, upstream, stream, when)


@both
@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, {"code": "context_length_exceeded"}, "CONTEXT_TOO_LONG"),
        (400, {"code": "content_policy_violation"}, "CONTENT_FILTERED"),
        (400, {"param": "messages"}, "INVALID_PROMPT"),
        (401, {"code": "invalid_api_key"}, "AUTHORIZATION"),
        (402, {}, "QUOTA_EXCEEDED"),
        (403, {}, "AUTHORIZATION"),
        (404, {"code": "model_not_found"}, "INVALID_MODEL"),
        (422, {}, "INVALID_PROMPT"),
        (429, {"code": "rate_limit_exceeded"}, "RATE_LIMITED"),
        (500, {"type": "server_error"}, "UNAVAILABLE"),
        (503, {}, "UNAVAILABLE"),
    ],
)
async def test_a_refusal_is_told_in_our_words(wire, upstream, stream, status, error, code) -> None:
    error = {"message": "That is not possible.", **error}
    final = await wire.final(ask(stream, status=status, error=error))
    assert (final["error"], "That is not possible." in final["message"]) == (code, True), final
    assert "litellm" not in final["message"].lower()
    assert len(upstream.completions()) == 1


async def test_a_rate_limit_tells_how_long_to_wait(wire) -> None:
    final = await wire.final(ask(status=429, headers={"retry-after": "7"}))
    assert (final["error"], final["retry_after_ms"]) == ("RATE_LIMITED", 7000)


async def test_a_model_without_a_vendor_is_told_how_to_name_one(wire, upstream) -> None:
    final = await wire.final(ask(model="gpt-of-nobody"))
    assert (final["error"], "`vendor/model`" in final["message"]) == ("INVALID_MODEL", True)
    assert upstream.completions() == []


async def test_what_a_vendor_does_not_take_is_refused_and_not_dropped(wire, upstream) -> None:
    final = await wire.final(ask(model="anthropic/claude-x", params={"seed": 7}))
    assert (final["error"], "seed" in final["message"]) == ("UNSUPPORTED", True)
    assert "drop" not in final["message"]
    assert upstream.completions() == []


@pytest.mark.parametrize("end", ["cut", "reset", "error"])
async def test_a_stream_that_breaks_off_keeps_what_was_said(wire, end) -> None:
    final = await wire.final(ask(chunks=3, end=end))
    assert (final["error"], final["response"]) == ("UNAVAILABLE", " word word word")


async def test_embeddings_come_in_the_order_of_their_texts(start_provider, upstream) -> None:
    process = await start_provider(SPEC, api_key=KEY, base_url=upstream.base_url)
    made = await process.embed(MODEL, ["a", "bb", "ccc"])
    assert (made.vectors, made.usage.input_tokens) == ([[1, 0], [2, 1], [3, 2]], 6)


async def test_a_vendor_s_models_are_listed_by_its_name(start_provider) -> None:
    process = await start_provider(SPEC, vendor="anthropic")
    models = await process.models()
    assert models
    assert all(each.startswith("anthropic/") for each in models)


@pytest.mark.parametrize("settings", [{"extra": "[]"}, {"extra": "no"}, {"vendor": "nobody"}])
async def test_a_setting_that_cannot_be_used_is_told_at_load(wire, settings) -> None:
    loaded = await wire.load("litellm", settings=settings)
    assert loaded["error"] == "INVALID_MESSAGE"
    assert next(iter(settings.values())) in loaded["message"] or "`extra`" in loaded["message"]


async def test_it_passes_the_conformance_run(conformance_of, upstream) -> None:
    settings = {"api_key": KEY, "base_url": upstream.base_url, "vendor": "openai"}
    assert await conformance_of(SPEC, "openai/bench-40-1-20", **settings) == {}
