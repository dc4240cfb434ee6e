"""What is refused, in which words, and what can be told of it."""

import json

import pytest
from protocol_stage import GENERATE, asking, generate, refusal, saying, without

from waifu_llm.errors import InvalidMessage, InvalidModel, InvalidPrompt, InvalidProvider
from waifu_llm.protocol import TYPES, About

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
