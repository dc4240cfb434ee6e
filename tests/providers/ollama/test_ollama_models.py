"""Ollama's models: listed, pulled, freed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fake_upstreams.running import RunningUpstream
from ollama_stage import MODEL, load
from support import LIMIT, until

from waifu_llm.backend import Request
from waifu_llm.conformance import examine
from waifu_llm.conversation import Message, Params
from waifu_llm.errors import WaifuError

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
        await until(lambda: upstream.log()[0]["state"] != "running")
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
