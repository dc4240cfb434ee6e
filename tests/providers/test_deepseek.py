"""DeepSeek, which is OpenAI's code with a dialect, against an upstream that speaks its wire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_upstreams.running import OPENAI, RunningUpstream, running_upstream
from support import LIMIT, Module, Wire, generate

from waifu_llm.paths import bundled_providers
from waifu_llm.plugins import discover

KEY = "sk-right-canary-0123456789"
MODEL = "deepseek-flash"
SPEC = discover(bundled_providers(), Path()).specs["deepseek"]
THOUGHTS = "They want a word."
CALL = {"id": "c1", "type": "function", "function": {"name": "wave", "arguments": "{}"}}
THINKING = {"reasoning": "send"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[RunningUpstream]:
    with running_upstream(OPENAI.with_name("deepseek_api.py")) as upstream:
        yield upstream


@pytest.fixture
async def wire(
    openai_installed: None, module: Module, upstream: RunningUpstream, dial: Callable[..., Any]
) -> AsyncIterator[Wire]:
    async with dial(module.url) as wire:
        upstream.forget()
        loaded = await wire.load("deepseek", api_key=KEY, base_url=upstream.base_url)
        assert loaded["error"] == "SUCCESS", loaded
        yield wire


def ask(stream: bool = True, params: Any = None, **fake: Any) -> Any:
    return generate(model=MODEL, stream=stream, params={**(params or {}), "extra": {"fake": fake}})


def thoughts(messages: list[dict[str, Any]]) -> str:
    return "".join(each["reasoning"] for each in messages if each["type"].endswith("_reasoning"))


both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@both
async def test_it_does_not_think_unless_it_is_asked_to(wire, upstream, stream) -> None:
    await wire.send(ask(stream, chunks=2))
    messages = await wire.until("generate_stream_done", "generate_done")
    assert (messages[-1]["response"], thoughts(messages)) == (" word word", "")
    assert upstream.completions()[0]["body"]["thinking"] == {"type": "disabled"}


async def test_what_it_thinks_comes_beside_what_it_says(wire, upstream) -> None:
    await wire.send(ask(params=THINKING, chunks=2))
    messages = await wire.until("generate_stream_done")
    assert (messages[-1]["response"], thoughts(messages)) == (" word word", THOUGHTS)
    assert upstream.completions()[0]["body"]["thinking"] == {"type": "enabled"}


@both
@pytest.mark.parametrize("thought", [THOUGHTS, ""], ids=["thoughts", "no thought"])
async def test_thoughts_go_back_with_the_calls_that_they_led_to(
    wire, upstream, stream, thought
) -> None:
    """Also those that are empty: without them it refuses the conversation."""
    calls = {"chunks": 0, "tool_calls": [CALL, {**CALL, "id": "c2"}], "reasoning": thought}
    first = await wire.final(ask(stream, THINKING, **calls, finish_reason="tool_calls"))
    signatures = [each.get("signature") for each in first["tool_calls"]]
    assert signatures == [f"deepseek:{thought}", None]
    turns = [
        {"role": "user", "content": "Wave twice."},
        {"role": "assistant", "tool_calls": first["tool_calls"]},
        {"role": "tool", "tool_call_id": "c1", "content": "Waved."},
        {"role": "tool", "tool_call_id": "c2", "content": "Waved."},
    ]
    again = await wire.final({**ask(stream, THINKING, chunks=1), "messages": turns})
    assert (again["error"], again["response"]) == ("SUCCESS", " word")
    assert upstream.completions()[1]["body"]["messages"][1]["reasoning_content"] == thought


async def test_calls_that_were_made_without_a_thought_are_sent_without_one(wire, upstream) -> None:
    call = {"id": "c1", "name": "wave", "arguments": "{}"}
    turns = [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "Waved."},
    ]
    await wire.final({**ask(chunks=1), "messages": turns})
    assert "reasoning_content" not in upstream.completions()[0]["body"]["messages"][0]


@both
async def test_a_server_that_is_busy_and_says_so_is_waited_for(wire, stream) -> None:
    final = await wire.final(ask(stream, chunks=2, keep_alive=3, split=True))
    assert (final["error"], final["response"]) == ("SUCCESS", " word word")


@both
@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (400, "The format of this body is wrong.", "INVALID_PROMPT"),
        (401, "Authentication Fails, your api key is invalid", "AUTHORIZATION"),
        (402, "Insufficient Balance", "QUOTA_EXCEEDED"),
        (422, "This parameter is wrong.", "INVALID_PROMPT"),
        (429, "You send requests too quickly.", "RATE_LIMITED"),
        (500, "Internal Error", "UNAVAILABLE"),
        (503, "Service is too busy.", "UNAVAILABLE"),
    ],
)
async def test_a_refusal_is_told_in_our_words(wire, stream, status, message, code) -> None:
    final = await wire.final(ask(stream, status=status, error={"message": message}))
    assert (final["error"], final["message"]) == (code, message)


async def test_models_are_the_account_s(wire) -> None:
    answer = await wire.ask({"type": "get_models", "provider": "deepseek"})
    assert answer["models"] == ["deepseek-flash", "deepseek-v4-pro"]


@both
async def test_an_interrupt_closes_the_vendor_s_connection(wire, upstream, stream) -> None:
    await wire.send(ask(stream, first_delay_ms=3_600_000, keep_alive=2))
    await upstream.until(lambda log: len(log) == 1, LIMIT)
    await wire.send({"type": "interrupt"})
    await wire.until("generate_done", "generate_stream_done")
    log = await upstream.until(lambda log: log[0]["state"] != "running", LIMIT)
    assert log[0]["state"] == "aborted"


async def test_it_passes_the_conformance_run(conformance_of, upstream) -> None:
    settings = {"api_key": KEY, "base_url": upstream.base_url}
    assert await conformance_of(SPEC, "bench-40-1-20", **settings) == {}
