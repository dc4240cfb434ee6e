"""The Groq provider, installed from its lock, against an upstream that speaks Groq's wire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_upstreams.running import OPENAI, RunningUpstream, running_upstream
from support import Module, Wire, chunks
from vendor import ask_faked, at_any_moment, is_interrupted_upstream

from waifu_llm.paths import bundled_providers
from waifu_llm.specs import ProviderSpec

KEY = "gsk_right_canary_0123456789"
MODEL = "gpt-test"
SPEC = ProviderSpec.from_folder(bundled_providers() / "groq")
CALL = {"id": "c1", "type": "function", "function": {"name": "wave", "arguments": '{"to":"all"}'}}


@pytest.fixture(scope="module")
def upstream() -> Iterator[RunningUpstream]:
    with running_upstream(OPENAI.with_name("groq_api.py")) as upstream:
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
        loaded = await wire.load("groq", api_key=KEY, base_url=upstream.base_url)
        assert loaded["error"] == "SUCCESS", loaded
        upstream.forget()
        yield wire


def ask(stream: bool = True, model: str = MODEL, params: Any = None, **fake: Any) -> Any:
    return ask_faked(model, stream, params, fake)


both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


async def test_a_request_carries_what_was_asked_in_the_vendor_s_words(wire, upstream) -> None:
    params = {
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "max_output_length": 50,
        "stop_tokens": ["a", "b", "c", "d", "e"],
        "response_format": {"type": "json_object"},
        "tools": [{"type": "function", "function": {"name": "wave"}}],
        "reasoning": "send",
        "extra": {"service_tier": "flex"},
    }
    await wire.final(ask(params=params))
    asked = upstream.completions()[0]
    del asked["body"]["fake"]
    assert (asked["path"], asked["key"]) == ("/openai/v1/chat/completions", KEY)
    assert asked["body"] == {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Hello"}],
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "max_completion_tokens": 50,
        "stop": ["a", "b", "c", "d"],
        "response_format": {"type": "json_object"},
        "tools": [{"type": "function", "function": {"name": "wave"}}],
        "reasoning_format": "parsed",
        "service_tier": "flex",
        "stream": True,
    }


async def test_who_speaks_stands_before_the_text(wire, upstream) -> None:
    """Groq refuses a message with a name."""
    await wire.final({**ask(), "messages": [{"role": "user", "content": "hi", "name": "DEV"}]})
    assert upstream.completions()[0]["body"]["messages"] == [{"role": "user", "content": "DEV: hi"}]


@both
async def test_an_answer_comes_with_its_end_and_its_count(wire, stream) -> None:
    final = await wire.final(ask(stream, chunks=3, finish_reason="length"))
    assert (final["error"], final["response"]) == ("SUCCESS", " word word word")
    assert final["finish_reason"] == "length"
    assert final["usage"] == {"input_tokens": 9, "output_tokens": 3}


async def test_a_stream_that_comes_byte_by_byte_is_read_as_it_was_said(wire) -> None:
    await wire.send(ask(text=["Hello", " かな", " 😀"], split=True, keep_alive=2))
    messages = await wire.until("generate_stream_done")
    assert chunks(messages) == messages[-1]["response"] == "Hello かな 😀"


@both
async def test_thoughts_and_calls_come_beside_the_text(wire, stream) -> None:
    fake = {"chunks": 0, "tool_calls": [CALL], "finish_reason": "tool_calls", "reasoning": "Hm."}
    final = await wire.final(ask(stream, **fake))
    assert (final["response"], final["finish_reason"]) == ("", "tool_calls")
    assert final["tool_calls"] == [{"id": "c1", "name": "wave", "arguments": '{"to":"all"}'}]


async def test_a_model_that_does_not_reason_is_asked_without(wire, upstream) -> None:
    params = {"reasoning": "send"}
    final = await wire.final(ask(params=params, chunks=1, refuse_fields=["reasoning_format"]))
    assert (final["error"], final["response"]) == ("SUCCESS", " word")


async def test_models_are_the_account_s(wire) -> None:
    answer = await wire.ask({"type": "get_models", "provider": "groq"})
    assert answer["models"] == ["gpt-test", "gpt-test-mini"]


@both
@at_any_moment
async def test_an_interrupt_closes_the_vendor_s_connection(wire, upstream, stream, when) -> None:
    assert await is_interrupted_upstream(ask, wire, upstream, stream, when)


@both
@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, {"code": "context_length_exceeded"}, "CONTEXT_TOO_LONG"),
        (400, {"code": "model_decommissioned"}, "INVALID_MODEL"),
        (400, {"code": "json_validate_failed"}, "INVALID_PROMPT"),
        (401, {"code": "invalid_api_key"}, "AUTHORIZATION"),
        (403, {"code": "permissions_error"}, "AUTHORIZATION"),
        (404, {"code": "model_not_found"}, "INVALID_MODEL"),
        (413, {"code": "rate_limit_exceeded", "type": "tokens"}, "CONTEXT_TOO_LONG"),
        (422, {}, "INVALID_PROMPT"),
        (424, {}, "UNAVAILABLE"),
        (429, {"code": "rate_limit_exceeded", "type": "tokens"}, "RATE_LIMITED"),
        (498, {"code": "capacity_exceeded"}, "UNAVAILABLE"),
        (499, {}, "UNAVAILABLE"),
        (500, {"type": "internal_server_error"}, "UNAVAILABLE"),
        (502, {}, "UNAVAILABLE"),
        (503, {}, "UNAVAILABLE"),
    ],
)
async def test_a_refusal_is_told_in_our_words(wire, upstream, stream, status, error, code) -> None:
    error = {"message": "That is not possible.", **error}
    final = await wire.final(ask(stream, status=status, error=error))
    assert (final["error"], final["message"]) == (code, error["message"])
    assert len(upstream.completions()) == 1


@pytest.mark.parametrize(
    ("headers", "milliseconds"),
    [
        ({"retry-after": "7"}, 7000),
        ({"x-ratelimit-remaining-tokens": "0"}, 7660),
        ({"x-ratelimit-remaining-requests": "0"}, 179_560),
        ({}, 179_560),
    ],
)
async def test_a_rate_limit_tells_how_long_to_wait(wire, headers, milliseconds) -> None:
    """As `retry-after` says, else till the limit that was reached is lifted."""
    final = await wire.final(ask(status=429, headers=headers))
    assert (final["error"], final["retry_after_ms"]) == ("RATE_LIMITED", milliseconds)


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


async def test_a_stream_that_was_stopped_early_says_why(wire) -> None:
    final = await wire.final(ask(chunks=2, x_error="The model ran out of room."))
    assert (final["error"], final["response"]) == ("UNAVAILABLE", " word word")
    assert "ran out of room" in final["message"]


async def test_a_wrong_key_is_told_at_load_without_being_shown(wire, upstream) -> None:
    key = "wrong-canary-0123456789"
    loaded = await wire.load("groq", api_key=key, base_url=upstream.base_url)
    assert (loaded["error"], "Incorrect API key" in loaded["message"]) == ("AUTHORIZATION", True)
    assert "canary" not in loaded["message"]


async def test_it_passes_the_conformance_run(conformance_of, upstream) -> None:
    settings = {"api_key": KEY, "base_url": upstream.base_url}
    assert await conformance_of(SPEC, "bench-40-1-20", **settings) == {}
