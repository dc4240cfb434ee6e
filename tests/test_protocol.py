import json
import os
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waifu_llm.conversation import Image, Message, Params, Penalties, ToolCall
from waifu_llm.errors import (
    InvalidMessage,
    InvalidModel,
    InvalidPrompt,
    InvalidProvider,
    WaifuError,
)
from waifu_llm.protocol import (
    TYPES,
    About,
    Close,
    Generate,
    GetModels,
    GetProviders,
    Hello,
    Interrupt,
    Load,
    Malformed,
    Status,
    Unload,
    decode,
)

LIMIT = 8 * 1024 * 1024

GENERATE = {
    "type": "generate",
    "unique_request_id": "q",
    "messages": [{"role": "user", "content": "hi"}],
    "params": {"model_id": "m"},
}
JOB = {"id": "mine", "query": "hi", "assistant": "guide", "job_id": "1"}
MORE = {"provider": "echo", "model_id": "m", "texts": ["a"], "instruction": {}}
ANY = {**GENERATE, **JOB, **MORE}
"""All that any message needs."""


def read(message):
    return decode(json.dumps(message).encode(), LIMIT)


def refusal(data, limit=LIMIT):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    with pytest.raises(Malformed) as caught:
        decode(data, limit)
    return caught.value


def generate(**changes):
    return {**GENERATE, **changes}


def without(name):
    return {key: value for key, value in GENERATE.items() if key != name}


def saying(**message):
    return generate(messages=[{"role": "user", "content": "hi", **message}])


def asking(**params):
    return generate(params={"model_id": "m", **params})


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


# What is refused, and in which words


@pytest.mark.parametrize(
    ("message", "kind", "words"),
    [
        (without("messages"), InvalidPrompt, "Missing `messages`"),
        (generate(messages=None), InvalidPrompt, "Missing `messages`"),
        (generate(messages={}), InvalidPrompt, "`array | null`, got `object`, in `messages`"),
        (generate(prompt="Once"), InvalidMessage, "There are `messages` and a `prompt`"),
        (generate(messages=[]), InvalidPrompt, "length >= 1, in `messages`"),
        (generate(messages=[1]), InvalidPrompt, "`object`, got `integer`, in `messages[0]`"),
        (saying(role=None), InvalidPrompt, "in `messages[0].role`"),
        (saying(role="bot"), InvalidPrompt, "'bot'; it is one of system, user, assistant, tool"),
        (generate(messages=[{"content": "a"}]), InvalidPrompt, "field `role`, in `messages[0]`"),
        (generate(messages=[{"role": "user"}]), InvalidPrompt, "Missing `content`: a string"),
        (saying(content=5), InvalidPrompt, "`string | null`, got `integer`"),
        (saying(content=["a"]), InvalidPrompt, "got `array`, in `messages[0].content`"),
        (saying(name=5), InvalidPrompt, "got `integer`, in `messages[0].name`"),
        (saying(role="tool"), InvalidPrompt, "needs `tool_call_id`"),
        (saying(images=[{"mime": "a"}]), InvalidPrompt, "`data`, in `messages[0].images[0]`"),
        (saying(images=[{"mime": 1, "data": ""}]), InvalidPrompt, "`messages[0].images[0].mime`"),
        (saying(tool_calls=[{}]), InvalidPrompt, "field `id`, in `messages[0].tool_calls[0]`"),
        (saying(tool_call_id=1), InvalidPrompt, "in `messages[0].tool_call_id`"),
        (asking(model_id="m" * 513), InvalidModel, "length <= 512, in `params.model_id`"),
        (asking(model_id=3), InvalidModel, "got `integer`, in `params.model_id`"),
        (generate(provider=""), InvalidProvider, "length >= 1, in `provider`"),
        (generate(provider=4), InvalidProvider, "got `integer`, in `provider`"),
        (generate(llm=4), InvalidProvider, "got `integer`, in `llm`"),
        ({"type": "load"}, InvalidProvider, "Missing `provider`"),
        ({"type": "load", "provider": None, "llm": None}, InvalidProvider, "Missing `provider`"),
        ({"type": "load", "llm": "a" * 513}, InvalidProvider, "length <= 512, in `llm`"),
        ({"type": "get_models", "llm": 1}, InvalidProvider, "in `llm`"),
        (without("params"), InvalidMessage, "required field `params`"),
        (generate(params=None), InvalidMessage, "`object`, got `null`, in `params`"),
        (without("unique_request_id"), InvalidMessage, "Missing `unique_request_id`"),
        (generate(unique_request_id=5), InvalidMessage, "got `integer`, in `unique_request_id`"),
        (generate(unique_request_id="x" * 513), InvalidMessage, "in `unique_request_id`"),
        (generate(stream="yes"), InvalidMessage, "`boolean | null`, got `string`, in `stream`"),
        (generate(session=""), InvalidMessage, "length >= 1, in `session`"),
        (asking(temperature="hot"), InvalidMessage, "got `string`, in `params.temperature`"),
        (asking(temperature=9), InvalidMessage, "`number` <= 5.0, in `params.temperature`"),
        (asking(temperature=True), InvalidMessage, "got `boolean`, in `params.temperature`"),
        (asking(max_output_length=0), InvalidMessage, ">= 1, in `params.max_output_length`"),
        (asking(max_output_length=1.5), InvalidMessage, "`integer | null`, got `number`"),
        (asking(stop_tokens="a"), InvalidMessage, "`array | null`, got `string`"),
        (asking(stop_tokens=[""]), InvalidMessage, "in `params.stop_tokens[0]`"),
        (asking(names="x"), InvalidMessage, "'x'; it is one of auto, field, prefix, drop"),
        (asking(reasoning="x"), InvalidMessage, "'x'; it is one of drop, send"),
        (asking(penalties={"presence": 4}), InvalidMessage, "in `params.penalties.presence`"),
        (asking(response_format="json"), InvalidMessage, "in `params.response_format`"),
        (asking(tools=[1]), InvalidMessage, "in `params.tools[0]`"),
        (asking(extra=[]), InvalidMessage, "`object | null`, got `array`, in `params.extra`"),
        (asking(timeout_ms=-1), InvalidMessage, "in `params.timeout_ms`"),
        ({"type": "load", "llm": "a", "api_key": 3}, InvalidMessage, "in `api_key`"),
        ({"type": "load", "llm": "a", "as": ""}, InvalidMessage, "in `as`"),
        ({"type": "load", "llm": "a", "settings": []}, InvalidMessage, "in `settings`"),
        ({"type": "load", "llm": "a", "settings": {"a": []}}, InvalidMessage, "in `settings[...]`"),
        ({"type": "load", "llm": "a", "progress": 1}, InvalidMessage, "in `progress`"),
        ({"type": "interrupt", "target": 4}, InvalidMessage, "in `target`"),
        ({"type": "interrupt", "session": ""}, InvalidMessage, "in `session`"),
        ({"type": "hello", "protocol": "1"}, InvalidMessage, "`integer"),
        ({"type": "hello", "protocol": 0}, InvalidMessage, ">= 1, in `protocol`"),
        ({"type": "hello", "token": 1}, InvalidMessage, "in `token`"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(message, kind, words):
    error = refusal(message).error
    assert type(error) is kind
    assert words in error.message


def test_the_wrong_one_of_many_messages_is_named_by_its_place():
    spoken = GENERATE["messages"]
    error = refusal(generate(messages=[*spoken, *spoken, {"role": "user"}])).error
    assert "in `messages[2]`" in error.message


@pytest.mark.parametrize("role", ["x' - at `$.type`", "int", "`provider`", "`"])
def test_a_wrong_role_is_quoted_as_it_was_sent(role):
    error = refusal(saying(role=role)).error
    assert type(error) is InvalidPrompt
    assert repr(role) in error.message
    assert error.message.endswith("in `messages[0].role`.")


@pytest.mark.parametrize("names", ["`provider`", "required field `model_id`"])
def test_what_a_client_writes_does_not_choose_the_error(names):
    assert type(refusal(asking(names=names)).error) is InvalidMessage


def test_an_unknown_type_is_answered_with_the_known_ones():
    error = refusal({"type": "dance"}).error
    assert type(error) is InvalidMessage
    assert "type `dance`" in error.message
    assert all(type in error.message for type in TYPES)


@pytest.mark.parametrize("type", [None, 5, [], {}])
def test_a_type_that_is_no_string_is_named(type):
    assert "Expected `string`, in `type`" in refusal({"type": type}).error.message


def test_a_missing_type_is_named():
    assert "required field `type`" in refusal({"unique_request_id": "q"}).error.message


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"hello", "not JSON"),
        (b'{"type":"status"', "not JSON"),
        (b'{"type":"status"} {}', "not JSON"),
        (b'\xef\xbb\xbf{"type":"status"}', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"type":"hello","client":"\xff"}', "not JSON"),
        (b'{"type":"hello","client":"\xed\xa0\x80"}', "not JSON"),
        (b'{"type":"hello","client":"\\ud800"}', "not JSON"),
        (b'{"type":"hello","client":"\\udc00"}', "not JSON"),
        (b'{"type":"hello","protocol":NaN}', "not JSON"),
        (b'{"type":"hello","protocol":-Infinity}', "not JSON"),
        (b'{"type":"hello","protocol":1e999}', "out of range, in `protocol`"),
        (b'{"type":"hello","protocol":%b}' % (b"1" * 5000), "out of range, in `protocol`"),
        (b"[]", "Expected `object`, got `array`"),
        (b"null", "Expected `object`, got `null`"),
        (b'"status"', "Expected `object`, got `string`"),
        (b"7", "Expected `object`, got `integer`"),
    ],
)
def test_what_is_no_json_object_is_refused_as_such(data, words):
    error = refusal(data).error
    assert type(error) is InvalidMessage
    assert words in error.message


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


# What can be told of a message that is refused

READABLE = {
    "type": "generate",
    "unique_request_id": "q",
    "stream": True,
    "provider": "a",
    "llm": "b",
    "id": "c",
    "job_id": "d",
}
READ = ("generate", "q", True, "a", "b", "c", "d")


def test_a_refused_message_is_read_as_far_as_can_be():
    assert refusal(READABLE).about == About(*READ)


@pytest.mark.parametrize("name", About.__struct_fields__)
@pytest.mark.parametrize("wrong", [5, None, ["x"], {"x": 1}])
def test_one_field_that_is_wrong_costs_no_other(name, wrong):
    expected = About(*READ)
    setattr(expected, name, getattr(About(), name))
    assert refusal({**READABLE, name: wrong}).about == expected


@pytest.mark.parametrize(
    "data",
    [
        b'{"type":"generate","unique_request_id":"q","x":' + b"[" * 40 + b"]" * 40 + b"}",
        b'{"type":"generate","unique_request_id":"q","messages":[{"role":"user",'
        b'"content":"\xff"}],"params":{"model_id":"m"}}',
    ],
    ids=["too deep", "invalid UTF-8"],
)
def test_what_is_wrong_inside_a_generate_is_told_to_the_request(data):
    assert refusal(data).about == About("generate", "q")


def test_an_oversized_message_is_told_to_its_request():
    data = json.dumps(generate(stream=True)).encode()
    assert refusal(data, 10).about == About("generate", "q", True)


@pytest.mark.parametrize("data", [b"", b"[]", b"7", b"\xff", b'{"type":"generate"', b"[" * 100_000])
def test_nothing_is_told_of_what_cannot_be_read(data):
    assert refusal(data).about == About()


# Anything at all

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)
FINITE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
SHORT = st.text(min_size=1, max_size=20)
OBJECT = st.dictionaries(SHORT, FINITE, max_size=3)


def some(required, **optional):
    strategies = {name: st.none() | strategy for name, strategy in optional.items()}
    return st.fixed_dictionaries(required, optional=strategies)


def numbers(least, most):
    return st.floats(least, most) | st.integers(least, most)


IMAGE = st.fixed_dictionaries({"mime": SHORT, "data": st.text()})
CALL = st.fixed_dictionaries({"id": st.text(), "name": st.text(), "arguments": st.text()})
MESSAGE = some(
    {"role": st.sampled_from(["system", "user", "assistant"]), "content": st.text()},
    name=st.text(),
    images=st.lists(IMAGE, max_size=2),
    tool_calls=st.lists(CALL, max_size=2),
    tool_call_id=st.text(),
)
PENALTIES = some({}, presence=numbers(-2, 2), frequency=numbers(-2, 2), repetition=numbers(0, 10))
PARAMS = some(
    {"model_id": SHORT},
    character_name=st.text(max_size=20),
    temperature=numbers(0, 5),
    top_p=numbers(0, 1),
    seed=st.integers(0, 2**53),
    penalties=PENALTIES,
    max_output_length=st.integers(1, 1_000_000),
    stop_tokens=st.lists(SHORT, max_size=4),
    response_format=OBJECT,
    tools=st.lists(OBJECT, max_size=2),
    reasoning=st.sampled_from(["drop", "send"]),
    extra=OBJECT,
    timeout_ms=st.integers(1, 86_400_000),
    names=st.sampled_from(["auto", "field", "prefix", "drop"]),
)
SETTING = st.text() | st.integers(-(2**63), 2**63) | st.booleans() | st.none()


def typed(type, **optional):
    return some({"type": st.just(type)}, unique_request_id=st.text(max_size=20), **optional)


VALID = st.one_of(
    some(
        {
            "type": st.just("generate"),
            "unique_request_id": st.text(max_size=20),
            "messages": st.lists(MESSAGE, min_size=1, max_size=3),
            "params": PARAMS,
        },
        provider=SHORT,
        llm=SHORT,
        stream=st.booleans(),
        session=SHORT,
    ),
    some(
        {"type": st.just("load"), "provider": SHORT},
        unique_request_id=st.text(max_size=20),
        llm=SHORT,
        api_key=st.text(),
        base_url=st.text(),
        preload_model_id=st.text(),
        settings=st.dictionaries(st.text(), SETTING, max_size=3),
        progress=st.booleans(),
        **{"as": SHORT},
    ),
    typed("unload", provider=SHORT, llm=SHORT),
    typed("get_models", provider=SHORT, llm=SHORT),
    typed("get_providers"),
    typed("interrupt", target=st.text(max_size=20), session=SHORT),
    typed("hello", client=st.text(max_size=20), token=st.text()),
    typed("status"),
    typed("close"),
)


def check_answer(data):
    """Either a message, or a refusal that can be sent."""
    try:
        message = decode(data, LIMIT)
    except Malformed as exc:
        refused = exc
    else:
        assert message.type in TYPES
        return
    assert isinstance(refused.error, WaifuError)
    assert refused.error.message
    msgspec.json.encode([refused.error.message, refused.about])


def without_nulls(value):
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


@settings(deadline=None)
@given(VALID)
def test_a_valid_message_comes_through_whole(message):
    taken = read(message)
    again = decode(msgspec.json.encode(taken), LIMIT)
    assert again == taken
    shown = without_nulls(msgspec.to_builtins(taken))
    if message["type"] == "hello":
        assert shown.pop("protocol") == 1
    assert shown == without_nulls(message)


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_read_or_refused(data):
    check_answer(data)


@settings(deadline=None)
@given(JSON)
def test_any_json_is_read_or_refused(value):
    check_answer(json.dumps(value).encode())


@settings(deadline=None)
@given(VALID, st.data())
def test_a_message_with_any_value_in_any_place_is_read_or_refused(message, data):
    place = message
    while True:
        name = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else [0]))
        inner = place[name]
        if not inner or not isinstance(inner, dict | list) or data.draw(st.booleans()):
            break
        place = inner
    place[name] = data.draw(JSON)
    check_answer(json.dumps(message).encode())


@settings(deadline=None)
@given(VALID, st.data())
def test_a_message_with_any_bytes_in_any_place_is_read_or_refused(message, data):
    whole = json.dumps(message, ensure_ascii=data.draw(st.booleans())).encode()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 8)))
    check_answer(whole[:start] + data.draw(st.binary(max_size=8)) + whole[end:])
