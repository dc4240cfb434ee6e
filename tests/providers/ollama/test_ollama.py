"""What the Ollama provider sends."""

from __future__ import annotations

import pytest
from ollama_stage import MODEL, TOOL, ask, both, load, sent

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
