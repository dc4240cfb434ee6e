"""The Ollama provider, installed from its lock, against an upstream that speaks the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_upstreams.running import OLLAMA, RunningUpstream, running_upstream
from support import LIMIT, Module, Wire, chunks, generate

from waifu_llm.backend import Request
from waifu_llm.conformance import examine
from waifu_llm.conversation import Message, Params
from waifu_llm.environments import Environments
from waifu_llm.errors import WaifuError
from waifu_llm.paths import bundled_providers
from waifu_llm.provider_log import LogFile
from waifu_llm.specs import ProviderSpec
from waifu_llm.trial import Subject, Trial

MODEL = "clever"
CALL = {"id": "c1", "function": {"index": 0, "name": "wave", "arguments": {"to": "かな"}}}
TOOL = {"type": "function", "function": {"name": "wave"}}
SPEC = ProviderSpec.from_folder(bundled_providers() / "ollama")


@pytest.fixture(scope="module")
def upstream() -> Iterator[RunningUpstream]:
    with running_upstream(OLLAMA, ("/api/chat", "/api/generate")) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def python(home: Path) -> Path:
    """The interpreter of its environment, made before anybody waits for it."""
    environments = Environments(home / "provider_envs", home / "cache")
    return asyncio.run(environments.ensure(SPEC, lambda *_: None))


@pytest.fixture(scope="module")
def installed(python: Path, start_module: Callable[..., Module]) -> Module:
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


@pytest.fixture
def trial(python: Path, upstream: RunningUpstream, tmp_path: Path) -> Callable[..., Any]:
    """A process of the provider alone, for what the protocol of clients does not have."""

    async def interpreter() -> Path:
        return python

    @asynccontextmanager
    async def trial(model_id: str | None = None, **settings: Any) -> AsyncIterator[Trial]:
        settings = {"base_url": upstream.base_url, **settings}
        log_file = LogFile(tmp_path / "provider.log")
        subject = Subject(
            spec=SPEC,
            install=interpreter,
            cwd=tmp_path,
            log_file=log_file,
            settings=settings,
            model_id=model_id,
            embed_model_id="vectors",
        )
        trial = Trial(subject)
        try:
            yield trial
        finally:
            await trial.end()

    return trial


async def load(wire: Wire, upstream: RunningUpstream, **more: Any) -> Any:
    return await wire.load("ollama", **{"base_url": upstream.base_url, **more})


def ask(stream: bool = True, model: str = MODEL, params: Any = None, **fake: Any) -> Any:
    params = {**(params or {})}
    extra = {**params.pop("extra", {}), "fake": fake}
    return generate("Hello", model=model, stream=stream, params={**params, "extra": extra})


def sent(upstream: RunningUpstream) -> dict[str, Any]:
    body = upstream.completions()[-1]["body"]
    body.pop("fake", None)
    return body


both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


# What it sends


async def test_a_request_carries_what_was_asked_in_the_server_s_words(wire, upstream) -> None:
    params = {
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "penalties": {"presence": 1, "frequency": -1, "repetition": 1.1},
        "max_output_length": 50,
        "stop_tokens": ["zzz"],
        "response_format": {"type": "json_object"},
        "tools": [TOOL],
        "extra": {"options": {"mirostat": 2}, "logprobs": True},
    }
    await wire.final(ask(params=params))
    assert sent(upstream) == {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "truncate": False,
        "think": False,
        "format": "json",
        "tools": [TOOL],
        "logprobs": True,
        "options": {
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 7,
            "presence_penalty": 1,
            "frequency_penalty": -1,
            "repeat_penalty": 1.1,
            "num_predict": 50,
            "stop": ["zzz"],
            "mirostat": 2,
        },
    }


async def test_what_was_not_asked_is_not_sent(wire, upstream) -> None:
    await wire.final(ask(stream=False, model="plain"))
    assert sent(upstream) == {
        "model": "plain",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": False,
        "truncate": False,
        "options": {},
    }


async def test_every_kind_of_message_is_sent_in_the_server_s_shape(wire, upstream) -> None:
    call = {"id": "c1", "name": "wave", "arguments": '{"to":"all"}'}
    call["signature"] = "ollama:Hm, wave."
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Look", "images": [{"mime": "image/png", "data": "aGk="}]},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "Waved."},
        {"role": "user", "name": "Anna", "content": "Thanks"},
    ]
    await wire.final({**ask(), "messages": messages})
    function = {"name": "wave", "arguments": {"to": "all"}}
    assert sent(upstream)["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Look", "images": ["aGk="]},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c1", "function": function}],
            "thinking": "Hm, wave.",
        },
        {"role": "tool", "content": "Waved.", "tool_call_id": "c1", "tool_name": "wave"},
        {"role": "user", "content": "Anna: Thanks"},
    ]


async def test_a_schema_is_sent_as_the_format(wire, upstream) -> None:
    schema = {"type": "object", "properties": {"mood": {"type": "string"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "mood", "schema": schema}}
    await wire.final(ask(params={"response_format": wanted}))
    assert sent(upstream)["format"] == schema


async def test_a_format_that_it_does_not_have_is_refused(wire) -> None:
    final = await wire.final(ask(params={"response_format": {"type": "banana"}}))
    assert (final["error"], "banana" in final["message"]) == ("UNSUPPORTED", True)


async def test_the_settings_go_with_every_request(installed, dial, upstream) -> None:
    async with dial(installed.url) as wire:
        settings = {"num_ctx": 16384, "keep_alive": "-1"}
        await load(wire, upstream, settings=settings, preload_model_id=MODEL)
        loading = sent(upstream)
        await wire.final(ask(params={"temperature": 0}))
        asking = sent(upstream)
    assert loading == {
        "model": MODEL,
        "stream": False,
        "keep_alive": -1,
        "options": {"num_ctx": 16384},
    }
    assert (asking["keep_alive"], asking["options"]) == (-1, {"num_ctx": 16384, "temperature": 0})


async def test_a_key_is_sent_where_there_is_one(installed, dial, upstream) -> None:
    async with dial(installed.url) as wire:
        await load(wire, upstream, api_key="a-right-canary")
        await wire.final(ask())
    assert upstream.completions()[-1]["key"] == "a-right-canary"


# Thoughts


async def test_a_model_thinks_only_for_those_who_ask(wire, upstream) -> None:
    await wire.send(ask(chunks=1, thinking="A greeting.", params={"reasoning": "send"}))
    messages = await wire.until("generate_stream_done")
    thoughts = [each.get("reasoning") for each in messages if each["type"].endswith("reasoning")]
    assert (thoughts, sent(upstream)["think"]) == (["A greeting."], True)


async def test_how_hard_it_thinks_can_be_told(wire, upstream) -> None:
    await wire.final(ask(params={"extra": {"think": "low"}}))
    assert sent(upstream)["think"] == "low"


@both
async def test_what_a_model_thinks_is_not_spoken(wire, stream) -> None:
    final = await wire.final(ask(stream, chunks=1, thinking="A greeting."))
    assert final["response"] == " word"


# What a model cannot do


@pytest.mark.parametrize(
    ("params", "images", "what"),
    [
        ({"tools": [TOOL]}, [], "cannot call tools"),
        ({}, [{"mime": "image/png", "data": "aGk="}], "cannot see images"),
        ({"extra": {"think": True}}, [], "cannot think aloud"),
    ],
)
async def test_what_a_model_cannot_do_is_refused(wire, upstream, params, images, what) -> None:
    request = ask(model="plain", params=params)
    request["messages"] = [{"role": "user", "content": "Look", "images": images}]
    final = await wire.final(request)
    assert (final["error"], what in final["message"]) == ("UNSUPPORTED", True)
    assert upstream.completions() == []


async def test_a_server_that_does_not_tell_what_its_models_can_is_asked(wire, upstream) -> None:
    final = await wire.final(ask(model="old", params={"tools": [TOOL], "reasoning": "send"}))
    assert (final["error"], "think" in sent(upstream)) == ("SUCCESS", False)


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
@pytest.mark.parametrize("when", ["before the first token", "in the middle"])
async def test_an_interrupt_closes_the_server_s_connection(wire, upstream, stream, when) -> None:
    silent = when == "before the first token"
    wait = {"first_delay_ms": 3_600_000} if silent else {"delay_ms": 20, "chunks": 100_000}
    await wire.send(ask(stream, **wait))
    await wire.until("generate_stream_chunk" if stream and not silent else "generate_ack")
    await upstream.until(lambda log: len(log) == 1, LIMIT)
    await wire.send({"type": "interrupt"})
    final = (await wire.until("generate_done", "generate_stream_done"))[-1]
    assert final["error"] == "INTERRUPT"
    log = await upstream.until(lambda log: log[0]["state"] != "running", LIMIT)
    assert log[0]["state"] == "aborted"


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


# Models


async def test_models_are_those_that_the_server_has_now(installed, dial, upstream, trial) -> None:
    async with dial(installed.url) as wire:
        await load(wire, upstream)
        async with trial() as other:
            await (await other.loaded()).pull("brand-new", lambda *_: None)
        answer = await wire.ask({"type": "get_models", "provider": "ollama"})
    assert {"clever:latest", "vectors:latest", "brand-new:latest"} <= set(answer["models"])


async def test_a_pull_tells_how_far_it_is(trial) -> None:
    told: list[tuple[float, str]] = []
    async with trial() as trial:
        process = await trial.loaded()
        await process.pull("new", lambda _, fraction, text: told.append((fraction, text)))
        models = await process.models()
    fractions = [fraction for fraction, _ in told]
    assert (fractions == sorted(fractions), fractions[-1]) == (True, 1.0)
    assert [text for _, text in told][::8] == ["pulling manifest", "success"]
    assert "new:latest" in models


@pytest.mark.parametrize(
    ("model", "code"),
    [("missing", "INVALID_MODEL"), ("cut", "UNAVAILABLE"), ("unfinished", "UNAVAILABLE")],
)
async def test_a_pull_that_fails_is_told(trial, model, code) -> None:
    async with trial() as trial:
        process = await trial.loaded()
        with pytest.raises(WaifuError) as caught:
            await process.pull(model, lambda *_: None)
    assert caught.value.code == code


async def test_a_pull_that_is_stopped_closes_the_server_s_connection(trial, upstream) -> None:
    begun = asyncio.Event()
    async with trial() as trial:
        process = await trial.loaded()
        upstream.forget()
        pull = asyncio.create_task(process.pull("endless", lambda *_: begun.set()))
        await trial.within(begun.wait(), "It did not begin")
        pull.cancel()
        async with asyncio.timeout(LIMIT):
            while upstream.log()[0]["state"] == "running":
                await asyncio.sleep(0.01)
    assert upstream.log()[0]["state"] == "aborted"


async def test_vectors_come_in_the_order_of_their_texts(trial) -> None:
    async with trial() as trial:
        made = await (await trial.loaded()).embed("vectors", ["hi", "four"])
    assert made.vectors == [[0.25, 0.5], [0.5, 0.5]]
    assert made.usage is not None
    assert made.usage.input_tokens == 2


async def test_a_text_that_is_too_long_for_a_vector_is_not_cut(trial) -> None:
    async with trial() as trial:
        with pytest.raises(WaifuError) as caught:
            await (await trial.loaded()).embed("vectors", ["x" * 1001])
    assert caught.value.code == "CONTEXT_TOO_LONG"


async def test_a_prompt_goes_to_the_model_as_it_is(trial, upstream) -> None:
    upstream.forget()
    async with trial() as trial:
        process = await trial.loaded()
        params = Params(model_id=MODEL, extra={"fake": {"chunks": 2, "thinking": "Hm."}})
        answer = process.ask(Request([], params, True, prompt="Once upon a time"))
        await trial.within(answer.ended.wait(), "It did not end")
    asked = upstream.completions()[0]
    assert (answer.error, answer.text) == (None, " word word")
    assert (asked["path"], asked["body"]["raw"]) == ("/api/generate", True)
    assert (asked["body"]["prompt"], asked["body"]["think"]) == ("Once upon a time", False)


async def test_a_model_of_vectors_alone_is_preloaded_too(trial, upstream) -> None:
    upstream.forget()
    async with trial(model_id="vectors") as trial:
        await trial.loaded()
    assert [each["body"]["input"] for each in upstream.log() if each["path"] == "/api/embed"] == [
        []
    ]


# Memory


async def freed(trial: Any, upstream: RunningUpstream, **settings: Any) -> list[str]:
    upstream.forget()
    async with trial(**settings) as trial:
        process = await trial.loaded()
        for model in ("plain", "in-memory"):
            answer = process.ask(Request([Message("user", "Hi")], Params(model_id=model), True))
            await trial.within(answer.ended.wait(), "It did not end")
        await process.unload()
    bodies = [each["body"] for each in upstream.completions()]
    return [body["model"] for body in bodies if body.get("keep_alive") == 0]


async def test_unloading_frees_the_models_that_were_loaded_for_us(trial, upstream) -> None:
    assert await freed(trial, upstream) == ["plain"]


async def test_unloading_frees_no_model_that_is_to_stay(trial, upstream) -> None:
    assert await freed(trial, upstream, keep_alive="10m") == []


# All of it


async def test_it_passes_the_conformance_run(trial, upstream) -> None:
    upstream.forget()
    async with trial(model_id="bench-40-1-20") as trial:
        findings = [finding async for finding in examine(trial.subject)]
    assert {each.outcome for each in findings} == {"passed"}, findings
    log = await upstream.until(lambda log: all(e["state"] != "running" for e in log), LIMIT)
    assert "aborted" in {each["state"] for each in log}
