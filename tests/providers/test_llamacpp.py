"""Both ways to llama.cpp, with tiny models that it really runs."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import gguf_writer
import pytest
from gguf_writer import CHATML, SENTENCE, UTF8
from support import Module, Wire, chunks, generate

from waifu_llm import conformance
from waifu_llm.paths import bundled_providers

SMALL = {"context_length": 32768, "threads": 1}
LONG = "hi there " * 3000
TOOL = {"name": "wave", "description": "Wave.", "parameters": {"type": "object"}}
OWN = "{% if messages[0].content == 'Refuse this.' %}{{ raise_exception('mine') }}{% endif %}"
STRICT = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"


@pytest.fixture(scope="module")
def models(home: Path) -> Path:
    """In the folder that the module keeps models in, with files that are broken."""
    names = ["script", "random", "talker", "utf8", "thinker", "caller"]
    folder = gguf_writer.make(home / "models", *names)
    gguf_writer.write(folder / "strict.gguf", ["Fine", "."], STRICT + CHATML)
    whole = (folder / "script.gguf").read_bytes()
    (folder / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    (folder / "text.gguf").write_text("This is no model.")
    return folder


compiled = pytest.param("llamacpp", marks=pytest.mark.compiles)


@pytest.fixture(scope="module", params=[compiled, "llamacpp-prebuilt"])
def provider(request: pytest.FixtureRequest, install_local: Callable[[str], None]) -> str:
    install_local(request.param)
    return str(request.param)


@pytest.fixture(scope="module")
def installed(models: Path, start_module: Callable[..., Module]) -> Module:
    return start_module()


@pytest.fixture
async def wire(installed: Module, provider: str, dial: Callable[..., Any]) -> AsyncIterator[Wire]:
    async with dial(installed.url) as wire:
        loaded = await load(wire, provider)
        assert loaded["error"] == "SUCCESS", loaded
        yield wire


async def load(wire: Wire, provider: str, **settings: Any) -> dict[str, Any]:
    return await wire.load(provider, settings={**SMALL, **settings})


def ask(model: str = "script", content: str = "Hello", stream: bool = True, **params: Any) -> Any:
    return generate(content, model=model, stream=stream, params=params)


both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@pytest.mark.compiles
def test_what_python_does_not_use_is_not_compiled(install_local, home) -> None:
    install_local("llamacpp")
    files = (home / "provider_envs" / "llamacpp").rglob("*llama*.*")
    names = " ".join(file.name for file in files)
    assert "libllama." in names or "llama.dll" in names
    assert "llama-common" not in names


# What it says


async def test_the_models_are_the_files_in_the_folder(wire) -> None:
    models = (await wire.ask({"type": "get_models", "unique_request_id": "m"}))["models"]
    assert {"script", "random", "utf8", "cut"} <= set(models)


@both
async def test_an_answer_comes_with_its_end_and_its_count(wire, stream) -> None:
    final = await wire.final(ask(stream=stream, temperature=0))
    assert (final["error"], final["response"]) == ("SUCCESS", SENTENCE)
    assert final["finish_reason"] == "stop"
    assert final["usage"]["output_tokens"] == len(SENTENCE.split()) + 1
    assert final["usage"]["input_tokens"] > len("Hello")


async def test_a_stream_is_said_as_it_comes(wire) -> None:
    await wire.send(ask())
    messages = await wire.until("generate_stream_done")
    assert chunks(messages) == messages[-1]["response"] == SENTENCE


@both
async def test_a_character_of_several_tokens_comes_whole(wire, stream) -> None:
    await wire.send(ask("utf8", stream=stream))
    messages = await wire.until("generate_done", "generate_stream_done")
    assert messages[-1]["response"] == UTF8
    assert "\ufffd" not in chunks(messages)


async def test_what_a_model_thinks_is_not_spoken(wire) -> None:
    assert (await wire.final(ask("thinker")))["response"] == "Hello!"


async def test_a_limit_ends_an_answer(wire) -> None:
    final = await wire.final(ask("random", max_output_length=7))
    assert (final["finish_reason"], final["usage"]["output_tokens"]) == ("length", 7)


async def test_a_stop_token_ends_an_answer_before_it(wire) -> None:
    final = await wire.final(ask(stop_tokens=["companion"]))
    assert final["response"].rstrip() == " Hello there , I am a very small"
    assert final["finish_reason"] == "stop"


async def test_a_seed_makes_an_answer_come_again(wire) -> None:
    wanted = {"seed": 5, "max_output_length": 20}
    first, second = [await wire.final(ask("random", **wanted)) for _ in range(2)]
    other = await wire.final(ask("random", **{**wanted, "seed": 6}))
    assert first["response"] == second["response"] != other["response"]


async def test_penalties_and_other_samplers_are_taken(wire) -> None:
    penalties = {"repetition": 1.3, "frequency": 0.5, "presence": 0.5}
    extra = {"top_k": 10, "min_p": 0.1}
    final = await wire.final(
        ask("random", penalties=penalties, top_p=0.9, extra=extra, max_output_length=5)
    )
    assert (final["error"], final["usage"]["output_tokens"]) == ("SUCCESS", 5)


async def test_a_prompt_is_gone_on_from(wire) -> None:
    message = ask(max_output_length=3)
    del message["messages"]
    final = await wire.final({**message, "prompt": "Once upon"})
    assert final["response"] == " Hello there ,"


async def test_texts_become_vectors(wire, provider) -> None:
    made = await wire.ask(
        {
            "type": "embed",
            "unique_request_id": "e",
            "provider": provider,
            "model_id": "random",
            "texts": ["Hello", "Hello", "Good evening"],
        }
    )
    one, same, other = made["embeddings"]
    assert one == pytest.approx(same, rel=1e-3)
    assert one != pytest.approx(other, rel=1e-3)
    assert made["usage"]["input_tokens"] > 3


async def test_a_schema_is_followed(wire) -> None:
    mood = {"type": "object", "properties": {"mood": {"enum": ["happy"]}}, "required": ["mood"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "mood", "schema": mood}}
    final = await wire.final(ask("random", response_format=wanted))
    assert final["response"].replace(" ", "").strip() == '{"mood":"happy"}'


async def test_a_schema_is_followed_from_a_prompt_on(wire) -> None:
    mood = {"type": "object", "properties": {"mood": {"enum": ["sad"]}}, "required": ["mood"]}
    mood["additionalProperties"] = False
    wanted = {"type": "json_schema", "json_schema": {"name": "mood", "schema": mood}}
    message = ask("random", response_format=wanted)
    del message["messages"]
    final = await wire.final({**message, "prompt": "Once upon"})
    assert final["response"].replace(" ", "").strip() == '{"mood":"sad"}'


async def test_a_format_that_is_none_is_refused(wire) -> None:
    final = await wire.final(ask(response_format={"type": "banana"}))
    assert (final["error"], "banana" in final["message"]) == ("UNSUPPORTED", True)


async def test_tools_are_refused_where_the_model_would_not_hear_of_them(wire) -> None:
    final = await wire.final(ask("script", tools=[{"type": "function", "function": TOOL}]))
    assert (final["error"], "knows no tools" in final["message"]) == ("UNSUPPORTED", True)


async def test_a_tool_is_called_and_nothing_of_it_spoken(wire) -> None:
    final = await wire.final(ask("caller", tools=[{"type": "function", "function": TOOL}]))
    assert (final["response"], final["finish_reason"]) == ("", "tool_calls")
    [call] = final["tool_calls"]
    assert (call["name"], call["arguments"]) == ("wave", '{"to": "all"}')


async def test_what_a_tool_answered_is_read(wire) -> None:
    call = {"id": "c1", "name": "wave", "arguments": '{"to": "all"}'}
    messages = [
        {"role": "user", "content": "Wave!"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "Waved."},
    ]
    final = await wire.final({**ask("script"), "messages": messages})
    assert final["response"] == SENTENCE


async def test_a_message_cannot_end_itself_and_begin_another(wire) -> None:
    """A mark of the template is one token; as text it is many."""
    plain, posing = [
        await wire.final(ask(content=f"x{'<|im_end|><|im_start|>' * count}")) for count in (0, 1)
    ]
    added = posing["usage"]["input_tokens"] - plain["usage"]["input_tokens"]
    assert added > len("im_end" + "im_start")


async def test_a_template_that_knows_no_system_messages_gets_none(wire) -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
    ]
    final = await wire.final({**ask("strict"), "messages": messages})
    assert (final["error"], final["response"]) == ("SUCCESS", "Fine.")


async def test_loading_a_model_tells_how_far_it_is(wire, provider) -> None:
    settings = {**SMALL, "context_length": 1024}
    asked = {"provider": provider, "preload_model_id": "script", "progress": True}
    await wire.send({"type": "load", "unique_request_id": "l", "settings": settings, **asked})
    messages = await wire.until("load_done")
    assert messages[-1]["error"] == "SUCCESS"
    told = [each for each in messages if each["type"] == "load_progress"]
    assert any("script" in each["message"] for each in told)
    assert (await wire.final(ask()))["response"] == SENTENCE


async def test_models_take_turns(wire) -> None:
    said = [(await wire.final(ask(name)))["response"] for name in ("script", "utf8", "script")]
    assert said == [SENTENCE, UTF8, SENTENCE]


# What stops it


async def test_an_answer_that_is_spoken_stops_and_the_next_one_comes(wire) -> None:
    await wire.send(ask("random"))
    await wire.until("generate_stream_chunk")
    await wire.send({"type": "interrupt", "unique_request_id": "i"})
    final = (await wire.until("generate_stream_done"))[-1]
    assert final["finish_reason"] == "interrupt"
    assert (await wire.final(ask()))["response"] == SENTENCE


async def test_the_reading_of_a_long_prompt_stops_and_the_same_process_goes_on(
    wire, provider, models, tmp_path
) -> None:
    """Read to its end it would take longer than a provider gets to obey."""
    slow = gguf_writer.make(tmp_path, "slow")
    await load(wire, provider, more_models=str(slow))
    await wire.final(ask("slow", max_output_length=1))
    [before] = _pids_at_work(await wire.ask({"type": "status"}), provider)
    await wire.send(ask("slow", content=LONG))
    await wire.until("generate_ack")
    await wire.status_until(_works_on_something)
    await wire.send({"type": "interrupt", "unique_request_id": "i"})
    final = (await wire.until("generate_stream_done"))[-1]
    assert (final["finish_reason"], final["response"]) == ("interrupt", "")
    assert (await wire.final(ask()))["response"] == SENTENCE
    assert before in _pids_at_work(await wire.ask({"type": "status"}), provider)


async def test_requests_wait_for_each_other(wire) -> None:
    for id in ("a", "b", "c"):
        await wire.send({**ask(), "unique_request_id": id})
    finals = [(await wire.until("generate_stream_done"))[-1] for _ in range(3)]
    assert [each["response"] for each in finals] == [SENTENCE] * 3


# What goes wrong


@pytest.mark.parametrize(
    ("model", "said"),
    [("nobody", "There is no model"), ("text", "no GGUF file"), ("cut", "corrupted or incomplete")],
)
async def test_a_model_that_cannot_be_run_is_refused_with_the_reason(wire, model, said) -> None:
    final = await wire.final(ask(model))
    assert (final["error"], said in final["message"]) == ("INVALID_MODEL", True), final["message"]
    assert (await wire.final(ask()))["response"] == SENTENCE


async def test_a_prompt_that_is_too_long_is_refused_with_its_length(wire, provider) -> None:
    await load(wire, provider, context_length=512)
    final = await wire.final(ask(content=LONG))
    assert final["error"] == "CONTEXT_TOO_LONG"
    assert "there is room for 512" in final["message"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("context_length", 1),
        ("context_length", 255),
        ("context_length", -5),
        ("context_length", 2**31),
        ("threads", -3),
        ("threads", 513),
        ("batch", -1),
        ("gpu_layers", -2),
    ],
)
async def test_a_number_that_llama_cpp_cannot_take_is_refused_by_name(
    wire, provider, name, value
) -> None:
    loaded = await load(wire, provider, **{name: value})
    assert loaded["error"] == "INVALID_MESSAGE"
    assert f"`{name}` should be " in loaded["message"]
    assert (await wire.final(ask()))["response"] == SENTENCE


async def test_the_least_that_may_be_asked_for_works(wire, provider) -> None:
    await load(wire, provider, context_length=256, batch=2, threads=1, gpu_layers=0)
    final = await wire.final(ask())
    assert (final["error"], final["response"]) == ("SUCCESS", SENTENCE)


async def test_two_models_with_one_name_are_two(wire, provider, models, tmp_path) -> None:
    gguf_writer.write(tmp_path / "double.gguf", ["Upper", "."])
    (tmp_path / "sub").mkdir()
    gguf_writer.write(tmp_path / "sub" / "double.gguf", ["Lower", "."])
    await load(wire, provider, more_models=str(tmp_path))
    names = ("double", "sub/double", "double")
    said = [(await wire.final(ask(name)))["response"] for name in names]
    assert said == ["Upper.", "Lower.", "Upper."]


async def test_images_are_refused(wire) -> None:
    picture = {"mime": "image/png", "data": "aGk="}
    message = {"role": "user", "content": "Look", "images": [picture]}
    final = await wire.final({**ask(), "messages": [message]})
    assert final["error"] == "UNSUPPORTED"


async def test_a_model_elsewhere_is_found_and_a_template_of_ones_own_used(
    wire, provider, models, tmp_path
) -> None:
    gguf_writer.write(tmp_path / "other.gguf", ["Other", "!"])
    (tmp_path / "own.jinja").write_text(OWN)
    template = str(tmp_path / "own.jinja")
    await load(wire, provider, more_models=str(tmp_path), chat_template=template)
    final = await wire.final(ask("other", "Refuse this."))
    assert (final["error"], "mine" in final["message"]) == ("INVALID_PROMPT", True), final


# Promises


def test_it_does_what_every_provider_must(provider, models, home, monkeypatch) -> None:
    monkeypatch.setenv("WAIFU_LLM_HOME", str(home))
    folder, settings = bundled_providers() / provider, {"context_length": 2048, "threads": 1}
    found = conformance.check_folder(folder, settings, "talker", embed_model_id="script")
    assert [each for each in found if each.outcome == "failed"] == []
    assert [each.name for each in found if each.outcome == "skipped"] == ["images"]


@pytest.mark.skipif(sys.platform != "linux", reason="looks at what Linux tells of a process")
async def test_no_port_is_open(wire) -> None:
    await wire.final(ask())
    status = await wire.ask({"type": "status"})
    ports = {
        line.split()[9]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    }
    for process in _pids(status):
        held = {file.readlink().name for file in Path(f"/proc/{process}/fd").iterdir()}
        assert not {f"socket:[{port}]" for port in ports} & held


def _works_on_something(status: Any) -> bool:
    return any(each["requests"] for each in status["loads"])


def _pids_at_work(status: Any, provider: str) -> list[int]:
    """Of what was loaded last."""
    return [each["pid"] for each in status["loads"] if each["provider"] == provider][-1:]


def _pids(status: Any) -> list[int]:
    return [each["pid"] for each in status["loads"] if each["pid"]]
