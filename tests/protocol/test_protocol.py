"""What is taken of a client's message, and how much of it."""

import json
import os
import subprocess
import sys

import pytest
from protocol_stage import ANY, GENERATE, LIMIT, asking, generate, read, refusal, saying, without

from waifu_llm.conversation import Image, Message, Params, Penalties, ToolCall
from waifu_llm.errors import InvalidMessage
from waifu_llm.protocol import (
    TYPES,
    Close,
    Generate,
    GetModels,
    GetProviders,
    Hello,
    Interrupt,
    Load,
    Status,
    Unload,
    decode,
)

# What is taken


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            {"type": "hello", "protocol": 2, "client": "avatar 1.0", "token": "t"},
            Hello(protocol=2, client="avatar 1.0", token="t"),
        ),
        ({"type": "hello"}, Hello(protocol=1)),
        ({"type": "get_providers"}, GetProviders()),
        ({"type": "get_models", "provider": "echo"}, GetModels(provider="echo")),
        (
            {
                "type": "load",
                "provider": "openai",
                "api_key": "sk-1",
                "base_url": "http://localhost/v1",
                "preload_model_id": "m",
                "settings": {"text": "a", "whole": 1, "part": 0.5, "yes": True, "none": None},
                "as": "mine",
                "progress": True,
            },
            Load(
                provider="openai",
                api_key="sk-1",
                base_url="http://localhost/v1",
                preload_model_id="m",
                settings={"text": "a", "whole": 1, "part": 0.5, "yes": True, "none": None},
                alias="mine",
                progress=True,
            ),
        ),
        ({"type": "load", "llm": "groq"}, Load(llm="groq")),
        ({"type": "unload", "provider": "echo"}, Unload(provider="echo")),
        ({"type": "unload"}, Unload()),
        (
            {"type": "interrupt", "target": "q", "session": "s"},
            Interrupt(target="q", session="s"),
        ),
        ({"type": "status"}, Status()),
        ({"type": "close"}, Close()),
    ],
)
def test_each_message_is_read_with_and_without_an_id(message, expected):
    assert read(message) == expected
    expected.unique_request_id = "i"
    assert read({**message, "unique_request_id": "i"}) == expected


def test_a_generate_is_read_with_all_its_fields():
    call = {"id": "c", "name": "look", "arguments": "{}"}
    sent = generate(
        provider="mine",
        stream=True,
        session="s",
        messages=[
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": "erm", "name": "DEV"},
            {"role": "user", "content": "see", "images": [{"mime": "image/png", "data": "aGk="}]},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "seen"},
        ],
        params={
            "model_id": "gpt4o-mini",
            "character_name": "Hilda",
            "temperature": 1.0,
            "top_p": 0.9,
            "seed": 3,
            "penalties": {"presence": 0.1, "frequency": 0.2, "repetition": 1.1},
            "max_output_length": 200,
            "stop_tokens": ["\r", "\n"],
            "response_format": {"type": "json_object"},
            "tools": [{"name": "look"}],
            "reasoning": "send",
            "extra": {"top_k": 40},
            "timeout_ms": 10000,
            "names": "field",
        },
    )
    assert read(sent) == Generate(
        unique_request_id="q",
        provider="mine",
        stream=True,
        session="s",
        messages=[
            Message("system", "be kind"),
            Message("user", "erm", "DEV"),
            Message("user", "see", images=[Image("image/png", "aGk=")]),
            Message("assistant", tool_calls=[ToolCall("c", "look", "{}")]),
            Message("tool", "seen", tool_call_id="c"),
        ],
        params=Params(
            model_id="gpt4o-mini",
            character_name="Hilda",
            temperature=1.0,
            top_p=0.9,
            seed=3,
            penalties=Penalties(0.1, 0.2, 1.1),
            max_output_length=200,
            stop_tokens=["\r", "\n"],
            response_format={"type": "json_object"},
            tools=[{"name": "look"}],
            reasoning="send",
            extra={"top_k": 40},
            timeout_ms=10000,
            names="field",
        ),
    )


@pytest.mark.parametrize("type", TYPES)
def test_a_message_knows_its_type(type):
    assert read({**ANY, "type": type}).type == type


@pytest.mark.parametrize("type", ["load", "unload", "get_models", "generate", "embed", "pull"])
def test_a_provider_is_named_in_either_spelling(type):
    named = read({**ANY, "type": type, "provider": "a"})
    older = read({**ANY, "type": type, "provider": None, "llm": "a"})
    assert named.provider_name == older.provider_name == "a"
    assert (named.llm, older.provider) == (None, None)


def test_what_an_instruction_holds_is_taken_as_it_is():
    asked = {"type": "USER_CREATE", "data": {"username": None, "more": [1]}}
    message = read({"type": "instruction", "unique_request_id": "1", "instruction": asked})
    assert (message.id, message.instruction, message.stream) == ("1", asked, None)


def test_a_prompt_stands_in_place_of_messages():
    asked = read({**without("messages"), "prompt": "Once upon"})
    assert (asked.messages, asked.prompt) == (None, "Once upon")


def test_a_generate_knows_its_id():
    assert read(GENERATE).id == "q"


@pytest.mark.parametrize(
    ("message", "optional"),
    [
        ({"type": "hello"}, Hello.__struct_fields__),
        ({"type": "load", "provider": "a"}, ["llm", "api_key", "key", "base_url"]),
        (
            {"type": "load", "llm": "a"},
            ["provider", "preload_model_id", "settings", "as", "progress"],
        ),
        ({"type": "unload"}, Unload.__struct_fields__),
        ({"type": "get_models"}, GetModels.__struct_fields__),
        (GENERATE, ["provider", "llm", "stream", "session"]),
        ({"type": "interrupt"}, Interrupt.__struct_fields__),
    ],
)
def test_null_is_the_same_as_left_out(message, optional):
    for name in optional:
        assert read({**message, name: None}) == read(message)


@pytest.mark.parametrize("type", TYPES)
def test_unknown_fields_are_ignored(type):
    message = {**ANY, "type": type}
    assert read({**message, "mood": ["happy", {"very": True}]}) == read(message)
    assert read(saying(mood=1)) == read(asking(mood=1)) == read(GENERATE)


# What would cost too much


def nested(depth):
    return b'{"type":"status","x":%b%b}' % (b"[" * (depth - 1), b"]" * (depth - 1))


def test_depth_is_taken_up_to_its_bound_and_not_beyond():
    assert decode(nested(32), LIMIT) == Status()
    assert "more than 32 deep" in refusal(nested(33)).error.message


@pytest.mark.parametrize("bracket", [b"[", b'{"a":'])
def test_brackets_that_never_close_are_refused(bracket):
    assert type(refusal(bracket * 100_000).error) is InvalidMessage


def test_brackets_in_a_text_are_text():
    text = '\\"' + "[{" * 500
    assert read({"type": "hello", "client": text[:512]}).client == text[:512]


def test_containers_are_taken_up_to_their_bound_and_not_beyond():
    def with_containers(number):
        return b'{"type":"status","x":[%b]}' % b",".join([b"{}"] * (number - 2))

    assert decode(with_containers(100_000), LIMIT) == Status()
    assert "More than 100000" in refusal(with_containers(100_001)).error.message


def test_a_message_is_taken_up_to_the_limit_and_not_beyond():
    data = json.dumps(GENERATE).encode()
    assert decode(data, len(data)) == read(GENERATE)
    error = refusal(data, len(data) - 1).error
    assert type(error) is InvalidMessage
    assert f"{len(data)} bytes; at most {len(data) - 1}" in error.message


def test_a_text_of_escaped_quotes_that_never_ends_does_not_hold_the_module_up():
    code = (
        "from waifu_llm.protocol import *\n"
        "try: decode(b'[' * 40 + b'\"' + b'\\\\\"' * 1_000_000, 8 << 20)\n"
        "except Malformed: print('refused')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "refused\n", done.stderr
