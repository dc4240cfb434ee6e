"""What comes back from Ollama, and what goes wrong there."""

from __future__ import annotations

import pytest
from ollama_stage import CALL, MODEL, TOOL, ask, both, load
from support import LIMIT, chunks
from vendor import at_any_moment, is_interrupted_upstream

# What comes back


@both
async def test_an_answer_comes_with_its_end_and_its_count(wire, stream) -> None:
    final = await wire.final(ask(stream, chunks=3, done_reason="length"))
    assert (final["error"], final["response"]) == ("SUCCESS", " word word word")
    assert (final["finish_reason"], final["model_id"]) == ("length", MODEL)
    assert final["usage"] == {"input_tokens": 9, "output_tokens": 3}


@pytest.mark.parametrize("shape", ["crumbs", "blank_lines"])
async def test_a_stream_is_read_however_it_is_cut(wire, shape) -> None:
    await wire.send(ask(text=["Hello", " かな", " 😀"], **{shape: True}))
    messages = await wire.until("generate_stream_done")
    assert chunks(messages) == messages[-1]["response"] == "Hello かな 😀"


@both
async def test_tool_calls_have_arguments_as_text_and_the_thought_before_them(wire, stream) -> None:
    other = {"function": {"name": "bow", "arguments": {}}}
    fake = {"chunks": 0, "tool_calls": [CALL, other], "thinking": "Be polite."}
    final = await wire.final(ask(stream, params={"tools": [TOOL]}, **fake))
    first, second = final["tool_calls"]
    assert (final["finish_reason"], final["response"]) == ("tool_calls", "")
    assert first == {
        "id": "c1",
        "name": "wave",
        "arguments": '{"to": "かな"}',
        "signature": "ollama:Be polite.",
    }
    assert second.pop("id").startswith("call_")
    assert second == {"name": "bow", "arguments": "{}"}


@both
async def test_a_stop_token_ends_the_answer_and_the_connection(wire, upstream, stream) -> None:
    fake = {"text": ["one", " two", " th", "ree"], "delay_ms": 5, "end": "silence"}
    fake = fake if stream else {"text": fake["text"]}
    final = await wire.final(ask(stream, params={"stop_tokens": [" thr"]}, **fake))
    assert (final["response"], final["finish_reason"]) == ("one two", "stop")
    await upstream.until(lambda log: log[0]["state"] != "running", LIMIT)


# Interrupts


@both
@at_any_moment
async def test_an_interrupt_closes_the_server_s_connection(wire, upstream, stream, when) -> None:
    assert await is_interrupted_upstream(ask, wire, upstream, stream, when)


# What goes wrong


@both
@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, "invalid request", "INVALID_PROMPT"),
        (400, "the input length exceeds the context length", "CONTEXT_TOO_LONG"),
        (400, '"x" does not support chat', "UNSUPPORTED"),
        (400, "registry.ollama.ai/library/tiny does not support tools", "UNSUPPORTED"),
        (401, "unauthorized", "AUTHORIZATION"),
        (403, "remote inference is unavailable", "AUTHORIZATION"),
        (413, "request body too large", "CONTEXT_TOO_LONG"),
        (429, "slow down", "RATE_LIMITED"),
        (429, "you have reached your weekly usage limit", "QUOTA_EXCEEDED"),
        (500, "model requires more system memory (9 GiB) than is available", "OUT_OF_MEMORY"),
        (500, "llama runner process has terminated: cudaMalloc failed", "OUT_OF_MEMORY"),
        (500, "something went wrong", "UNAVAILABLE"),
        (503, "server busy, please try again", "UNAVAILABLE"),
    ],
)
async def test_a_refusal_is_told_in_our_words(wire, upstream, stream, status, error, code) -> None:
    final = await wire.final(ask(stream, status=status, error=error))
    assert (final["error"], error in final["message"]) == (code, True)
    assert (final["response"], final["finish_reason"]) == ("", "error")
    assert len(upstream.completions()) == 1


@pytest.mark.parametrize(
    ("headers", "milliseconds"),
    [({"retry-after": "7"}, 7000), ({"retry-after": "nonsense"}, None), ({}, None)],
)
async def test_a_rate_limit_tells_how_long_to_wait(wire, headers, milliseconds) -> None:
    final = await wire.final(ask(status=429, headers=headers))
    assert (final["error"], final.get("retry_after_ms")) == ("RATE_LIMITED", milliseconds)


async def test_a_page_of_a_proxy_is_told_as_what_it_is(wire) -> None:
    final = await wire.final(ask(status=502, html=True))
    assert (final["error"], "HTTP 502: <html>" in final["message"]) == ("UNAVAILABLE", True)


async def test_a_model_that_is_not_there_is_to_be_pulled(wire) -> None:
    final = await wire.final(ask(model="nothing"))
    assert (final["error"], "`ollama pull nothing`" in final["message"]) == ("INVALID_MODEL", True)


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
    final = await wire.final(ask(chunks=3, per_write=3, end=end))
    assert (final["error"], final["response"]) == (code, " word word word")


async def test_an_error_inside_a_stream_is_told_in_our_words(wire) -> None:
    final = await wire.final(ask(chunks=1, end="error", error="CUDA error: out of memory"))
    assert (final["error"], final["response"]) == ("OUT_OF_MEMORY", " word")


async def test_a_whole_answer_that_is_cut_is_no_answer(wire) -> None:
    assert (await wire.final(ask(stream=False, end="cut")))["error"] == "UNAVAILABLE"


async def test_a_connection_that_died_meanwhile_is_made_anew(wire, upstream) -> None:
    final = await wire.final(ask(chunks=1, drop_once=True))
    assert (final["error"], len(upstream.completions())) == ("SUCCESS", 2)


async def test_a_server_that_hangs_is_given_up_when_the_client_said_so(wire, upstream) -> None:
    final = await wire.final(ask(chunks=1, end="silence", params={"timeout_ms": 200}))
    assert (final["error"], final["response"]) == ("TIMEOUT", " word")
    await upstream.until(lambda log: log[0]["state"] == "aborted", LIMIT)


async def test_a_server_that_does_not_run_is_to_be_started(installed, dial) -> None:
    async with dial(installed.url) as wire:
        loaded = await wire.load("ollama", base_url="http://127.0.0.1:9")
    assert (loaded["error"], loaded["retryable"]) == ("UNAVAILABLE", True)
    assert "`ollama serve`" in loaded["message"]


async def test_a_wrong_key_is_told_at_load_without_being_shown(installed, dial, upstream) -> None:
    async with dial(installed.url) as wire:
        loaded = await load(wire, upstream, api_key="wrong-canary-0123456789")
    assert (loaded["error"], "`ollama signin`" in loaded["message"]) == ("AUTHORIZATION", True)
    assert "canary" not in loaded["message"]


async def test_the_server_is_found_where_ollama_was_told_to_listen(
    python, start_module, dial, upstream
) -> None:
    port = upstream.base_url.rpartition(":")[2]
    module = start_module(OLLAMA_HOST=f"0.0.0.0:{port}")
    upstream.forget()
    async with dial(module.url) as wire:
        assert (await wire.load("ollama"))["error"] == "SUCCESS"
        assert (await load(wire, upstream))["error"] == "SUCCESS"  # the same, by its address
    assert {each["headers"]["host"] for each in upstream.log()} == {f"127.0.0.1:{port}"}
