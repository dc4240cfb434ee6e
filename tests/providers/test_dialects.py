"""All who speak OpenAI's API with an accent: each declared vendor, and each key of `dialect`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from fake_upstreams.running import RunningUpstream, running_upstream
from support import Module, Wire, generate

from waifu_llm.backend import Request
from waifu_llm.conversation import Message, Params
from waifu_llm.errors import WaifuError
from waifu_llm.paths import bundled_providers
from waifu_llm.plugins import discover
from waifu_llm.trial import Answer

KEY = "sk-right-canary-0123456789"
MODEL = "gpt-test"
SPECS = discover(bundled_providers(), Path()).specs
OPENAI = SPECS["openai"]
DECLARED = sorted(
    name
    for name, spec in SPECS.items()
    if spec.installs_as == "openai" != name and spec.code == OPENAI.code
)
"""Those whose provider.toml is all that they have."""

V1 = ["/v1/models"]
ASKED: dict[str, tuple[list[str], str]] = {
    "azure-openai": (["/openai/v1/models"], "/openai/v1/chat/completions"),
    "cerebras": (V1, "/v1/chat/completions"),
    "deepseek": (["/models"], "/chat/completions"),
    "fireworks": (["/inference/v1/models"], "/inference/v1/chat/completions"),
    "github-models": (["/catalog/models"], "/inference/chat/completions"),
    "huggingface": (V1, "/v1/chat/completions"),
    "koboldcpp": (V1, "/v1/chat/completions"),
    "llama-server": (V1, "/v1/chat/completions"),
    "lmstudio": (V1, "/v1/chat/completions"),
    "localai": (V1, "/v1/chat/completions"),
    "nvidia": (V1, "/v1/chat/completions"),
    "openai-compatible": (V1, "/v1/chat/completions"),
    "openrouter": (["/api/v1/key", "/api/v1/models"], "/api/v1/chat/completions"),
    "perplexity": ([], "/chat/completions"),
    "textgen-webui": (V1, "/v1/chat/completions"),
    "together": (V1, "/v1/chat/completions"),
    "vllm": (V1, "/v1/chat/completions"),
    "xai": (V1, "/v1/chat/completions"),
}
"""What each is asked at load, and for an answer."""
WITHOUT_DEFAULT = {"azure-openai": "/openai/v1", "openai-compatible": "/v1"}
HEADERS = {
    "openrouter": {"x-title": "waifu-llm"},
    "github-models": {"x-github-api-version": "2022-11-28"},
}


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
    upstream.forget()
    async with dial(installed.url) as wire:
        yield wire


def at(upstream: RunningUpstream, name: str) -> str:
    """The declared address, at our upstream instead of the vendor's."""
    declared = SPECS[name].settings["base_url"].default
    path = urlsplit(str(declared)).path if declared else WITHOUT_DEFAULT[name]
    return upstream.base_url.removesuffix("/v1") + path


def in_order(log: list[dict[str, Any]]) -> list[str]:
    return [each["path"] for each in log]


# Each declared vendor


def test_every_declared_vendor_is_driven_here() -> None:
    assert list(ASKED) == DECLARED


@pytest.mark.parametrize("name", ASKED)
async def test_a_vendor_is_asked_where_it_answers_and_as_it_knows_us(wire, upstream, name) -> None:
    at_load, for_answers = ASKED[name]
    loaded = await wire.load(name, api_key=KEY, base_url=at(upstream, name))
    assert loaded["error"] == "SUCCESS", loaded
    final = await wire.final(generate(model=MODEL, params={"extra": {"fake": {"chunks": 2}}}))
    assert (final["error"], final["response"]) == ("SUCCESS", " word word"), final
    log = upstream.log()
    assert in_order(log) == [*at_load, for_answers]
    for each in log:
        header = "api-key" if name == "azure-openai" else "authorization"
        sent = {"api-key", "authorization"} & each["headers"].keys()
        assert (each["key"], sent, each["query"]) == (KEY, {header}, "")
        assert HEADERS.get(name, {}).items() <= each["headers"].items()


@pytest.mark.parametrize("name", ["lmstudio", "openai-compatible"])
async def test_where_no_key_is_needed_none_is_sent(wire, upstream, name) -> None:
    assert (await wire.load(name, base_url=at(upstream, name)))["error"] == "SUCCESS"
    await wire.final(generate(model=MODEL))
    assert not any({"authorization", "api-key"} & each["headers"].keys() for each in upstream.log())


@pytest.mark.parametrize("name", ["azure-openai", "openrouter"])
async def test_a_wrong_key_is_told_at_load(wire, upstream, name) -> None:
    loaded = await wire.load(name, api_key="wrong-canary", base_url=at(upstream, name))
    assert (loaded["error"], "canary" in loaded["message"]) == ("AUTHORIZATION", False)


@pytest.mark.parametrize("name", DECLARED)
def test_a_vendor_says_what_a_user_has_to_know(name) -> None:
    spec = SPECS[name]
    own = bundled_providers() / name / "provider.toml"
    assert spec.folder == own.parent.resolve()
    assert spec.homepage != OPENAI.homepage
    assert spec.key_help != OPENAI.key_help
    assert spec.example_model != OPENAI.example_model
    assert all(note.endswith(".") for note in spec.notes.values())
    assert ("repetition_penalty" in spec.capabilities) == ("repetition_field" in spec.dialect)
    here = str(spec.settings["base_url"].default).startswith("http://127.0.0.1:")
    assert (spec.kind == "local") == here == (spec.concurrency is not None)
    assert spec.settings["api_key"].required == (not here and name != "openai-compatible")


async def test_a_declared_vendor_passes_the_conformance_run(conformance_of, upstream) -> None:
    spec = SPECS["openrouter"]
    settings = {"api_key": KEY, "base_url": at(upstream, "openrouter")}
    assert await conformance_of(spec, "bench-40-1-20", **settings) == {}


# An address that is used exactly as it is given


@pytest.mark.parametrize(
    ("address", "at_load"),
    [
        ("/v1/chat/completions", ["/v1/models"]),
        ("/chat/completions", ["/models"]),
        ("/v1/chat/completions?tenant=7", ["/v1/models"]),
        ("/api/chat", []),
        ("/api/chat?tenant=7", []),
    ],
)
async def test_an_exact_address_is_asked_as_it_is(wire, upstream, address, at_load) -> None:
    root = upstream.base_url.removesuffix("/v1")
    exact = {"base_url": root + address, "settings": {"exact": True}, "api_key": KEY}
    loaded = await wire.load("openai-compatible", **exact)
    assert loaded["error"] == "SUCCESS", loaded
    for stream in (True, False):
        final = await wire.final(
            generate(model=MODEL, stream=stream, params={"extra": {"fake": {"chunks": 2}}})
        )
        assert (final["error"], final["response"]) == ("SUCCESS", " word word"), final
    path, _, query = address.partition("?")
    log = upstream.log()
    assert in_order(log) == [*at_load, path, path]
    assert [each["query"] for each in log if each["method"] == "POST"] == [query] * 2
    assert {each["key"] for each in log} == {KEY}


async def test_at_an_exact_address_that_tells_no_base_only_chats_are_asked_for(
    wire, upstream
) -> None:
    address = upstream.base_url.removesuffix("/v1") + "/api/chat"
    await wire.load("openai-compatible", base_url=address, settings={"exact": True})
    upstream.forget()
    embed = {"type": "embed", "unique_request_id": "e", "model_id": MODEL, "texts": ["a"]}
    refused = await wire.ask(embed)
    assert (refused["error"], "exact" in refused["message"]) == ("UNSUPPORTED", True)
    assert upstream.log() == []


# Azure's older way


async def test_azure_s_deployments_are_asked_with_a_version(wire, upstream) -> None:
    base_url = upstream.base_url.removesuffix("/v1") + "/openai/deployments/mine"
    settings = {"api_version": "2024-10-21"}
    await wire.load("azure-openai", api_key=KEY, base_url=base_url, settings=settings)
    await wire.final(generate(model=MODEL))
    last = upstream.log()[-1]
    assert last["path"] == "/openai/deployments/mine/chat/completions"
    assert (last["query"], last["key"]) == ("api-version=2024-10-21", KEY)


# Each key of a dialect


@pytest.fixture
def speak(start_provider: Callable[..., Any], upstream: RunningUpstream) -> Callable[..., Any]:
    """Loads OpenAI's code with a dialect of a test's own."""

    async def speak(dialect: dict[str, Any]) -> Any:
        upstream.forget()
        spec = msgspec.structs.replace(OPENAI, dialect=dialect)
        return await start_provider(spec, api_key=KEY, base_url=upstream.base_url)

    return speak


def ask(prompt: str | None = None, *turns: tuple[str, str], **params: Any) -> Request:
    messages = [Message(role, text) for role, text in turns or [("user", "Hello")]]
    whole = msgspec.convert({"model_id": MODEL, **params}, Params)
    return Request([] if prompt else messages, whole, True, prompt)


async def answer(process: Any, request: Request) -> str:
    sink = Answer()
    process.generate(request, sink)
    await sink.ended.wait()
    if sink.error:
        raise sink.error
    return sink.text


async def body(speak, upstream, dialect: dict[str, Any], request: Request) -> dict[str, Any]:
    await answer(await speak(dialect), request)
    return upstream.completions()[-1]["body"]


@pytest.mark.parametrize(
    ("dialect", "params", "field", "value"),
    [
        ({}, {"max_output_length": 5}, "max_tokens", 5),
        (
            {"length_field": "max_completion_tokens"},
            {"max_output_length": 5},
            "max_completion_tokens",
            5,
        ),
        ({"most_stops": 1}, {"stop_tokens": ["a", "b"]}, "stop", ["a"]),
        ({"most_stops": 0}, {"stop_tokens": ["a"]}, "stop", None),
        ({"counts_in_streams": False}, {}, "stream_options", None),
        ({}, {"temperature": 3}, "temperature", 2),
        ({"highest_temperature": 1}, {"temperature": 1.5}, "temperature", 1),
        ({"highest_temperature": 5}, {"temperature": 3}, "temperature", 3),
        ({"repetition_field": "rp"}, {"penalties": {"repetition": 1.5}}, "rp", 1.5),
        ({"body": {"safe": False}}, {}, "safe", False),
        ({"body": {"safe": False}}, {"extra": {"safe": True}}, "safe", True),
        ({"thinking": {"think": 1}}, {}, "think", None),
        ({"thinking": {"think": 1}}, {"reasoning": "send"}, "think", 1),
        ({"thinking": {"think": 1}, "not_thinking": {"think": 0}}, {}, "think", 0),
        ({"not_thinking": {"think": 0}}, {"reasoning": "send"}, "think", None),
    ],
)
async def test_a_request_is_said_in_the_dialect(
    speak, upstream, dialect, params, field, value
) -> None:
    assert (await body(speak, upstream, dialect, ask(**params))).get(field) == value


async def test_a_key_of_a_dialect_that_nobody_knows_is_told_at_load(speak) -> None:
    with pytest.raises(WaifuError, match="lenght_field"):
        await speak({"lenght_field": "max_tokens"})


async def test_turns_of_one_role_are_joined_where_they_have_to_alternate(speak, upstream) -> None:
    turns = [("system", "a"), ("system", "b"), ("user", "c"), ("system", "d"), ("assistant", "e")]
    sent = await body(speak, upstream, {"alternates": True}, ask(None, *turns, ("user", "f")))
    assert [(each["role"], each["content"]) for each in sent["messages"]] == [
        ("system", "a\n\nb"),
        ("user", "c\n\nd"),
        ("assistant", "e"),
        ("user", "f"),
    ]


async def test_what_a_model_does_not_take_is_left_out_for_that_model_alone(speak, upstream) -> None:
    process = await speak({"thinking": {"effort": "high"}})
    fake = {"fake": {"refuse_fields": ["effort"]}}
    for model in (MODEL, MODEL, "gpt-test-mini"):
        extra = fake if model == MODEL else {}
        params = {"model_id": model, "reasoning": "send", "extra": extra}
        assert await answer(process, ask(**params))
    assert ["effort" in each["body"] for each in upstream.completions()] == [
        True,
        False,
        False,
        True,
    ]


async def test_what_was_asked_for_and_is_refused_is_not_left_out(speak) -> None:
    process = await speak({"thinking": {"effort": "high"}})
    extra = {"effort": "low", "fake": {"refuse_fields": ["effort"]}}
    with pytest.raises(WaifuError, match="effort"):
        await answer(process, ask(extra=extra))


async def test_a_prompt_is_continued(speak, upstream) -> None:
    process = await speak({})
    said = await answer(process, ask("Once", extra={"fake": {"text": [" upon", " かな"]}}))
    last = upstream.completions()[-1]
    assert (said, last["path"], last["body"]["prompt"]) == (" upon かな", "/v1/completions", "Once")
    assert "messages" not in last["body"]


async def test_embeddings_come_in_the_order_of_their_texts(speak, upstream) -> None:
    made = await (await speak({})).embed(MODEL, ["a", "bb", "ccc"])
    assert made.vectors == [[1, 0], [2, 1], [3, 2]]
    assert made.usage.input_tokens == 6
    assert upstream.log()[-1]["body"]["input"] == ["a", "bb", "ccc"]
