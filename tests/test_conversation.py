import json

import msgspec
import pytest

from waifu_llm.conversation import Image, Message, Params, Penalties, Timing, ToolCall, Usage


def message(**fields):
    return msgspec.convert({"role": "user", "content": "hi", **fields}, Message)


def params(**fields):
    return msgspec.convert({"model_id": "m", **fields}, Params)


def encoded(value):
    return json.loads(msgspec.json.encode(value))


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_a_message_needs_a_role_and_content_and_nothing_else(role):
    assert message(role=role) == Message(role=role, content="hi")


def test_a_message_keeps_all_that_it_is_given():
    whole = message(
        role="assistant",
        name="DEV",
        images=[{"mime": "image/png", "data": "aGk="}],
        tool_calls=[{"id": "1", "name": "look", "arguments": "{}"}],
        tool_call_id="0",
    )
    assert whole == Message(
        "assistant", "hi", "DEV", [Image("image/png", "aGk=")], [ToolCall("1", "look", "{}")], "0"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function"}]},
        {"tools": [{"type": "function", "function": {"name": 1}}]},
        {"tools": [{"type": "function", "function": {"name": "a", "parameters": []}}]},
        {"response_format": {"type": "json_schema"}},
        {"response_format": {"type": "json_schema", "json_schema": None}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
    ],
)
def test_a_tool_and_a_format_have_what_their_type_needs(fields):
    with pytest.raises(msgspec.ValidationError, match=r"needs `|is a JSON schema"):
        params(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "web_search", "anything": 1}, {"name": "the vendor's own"}]},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "the vendor's own"}},
        {"response_format": {}},
    ],
)
def test_what_is_the_vendor_s_own_is_left_to_the_vendor(fields):
    ((name, value),) = fields.items()
    assert getattr(params(**fields), name) == value


def test_a_count_of_nothing_is_told():
    assert encoded(Usage()) == {"input_tokens": 0, "output_tokens": 0}


def test_empty_content_is_content():
    assert message(content="").content == ""


def test_a_message_that_only_calls_tools_needs_no_content():
    call = {"id": "1", "name": "look", "arguments": "{}"}
    assert message(role="assistant", content=None, tool_calls=[call]).content is None


@pytest.mark.parametrize("calls", [None, []])
def test_a_message_without_content_and_calls_says_that_content_is_missing(calls):
    with pytest.raises(msgspec.ValidationError, match="Missing `content`"):
        message(content=None, tool_calls=calls)


def test_a_tool_message_names_the_call_that_it_answers():
    assert message(role="tool", tool_call_id="1").tool_call_id == "1"
    with pytest.raises(msgspec.ValidationError, match="needs `tool_call_id`"):
        message(role="tool")


def test_params_need_only_a_model():
    assert params() == Params(model_id="m")


def test_params_keep_all_that_they_are_given():
    whole = {
        "character_name": "Hilda",
        "temperature": 1.0,
        "top_p": 0.5,
        "seed": 7,
        "penalties": {"presence": 1.0, "frequency": -1.0, "repetition": 1.1},
        "max_output_length": 200,
        "stop_tokens": ["\r", "\n"],
        "response_format": {"type": "json_object"},
        "tools": [{"name": "look"}],
        "reasoning": "send",
        "extra": {"mirostat": 2},
        "timeout_ms": 10_000,
        "names": "prefix",
    }
    taken = params(**whole)
    assert encoded(taken) == {"model_id": "m", **whole}
    assert taken.penalties == Penalties(1.0, -1.0, 1.1)


@pytest.mark.parametrize("name", Params.__struct_fields__)
def test_null_is_the_same_as_left_out(name):
    assert msgspec.convert({name: None}, Params) == Params()


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("temperature", 0, 5),
        ("top_p", 0, 1),
        ("seed", -(2**53), 2**53),
        ("max_output_length", 1, 1_000_000),
        ("timeout_ms", 1, 86_400_000),
    ],
)
def test_a_number_is_taken_up_to_its_bounds_and_not_beyond(name, least, most):
    for fits in (least, most):
        assert getattr(params(**{name: fits}), name) == fits
    for beyond in (least - 1, most + 1):
        with pytest.raises(msgspec.ValidationError, match=name):
            params(**{name: beyond})


@pytest.mark.parametrize(
    ("name", "least", "most"), [("presence", -2, 2), ("frequency", -2, 2), ("repetition", 0, 10)]
)
def test_a_penalty_is_taken_up_to_its_bounds_and_not_beyond(name, least, most):
    for fits in (least, most):
        assert getattr(params(penalties={name: fits}).penalties, name) == fits
    for beyond in (least - 0.01, most + 0.01):
        with pytest.raises(msgspec.ValidationError, match=rf"penalties\.{name}"):
            params(penalties={name: beyond})


@pytest.mark.parametrize(
    ("fits", "beyond"),
    [
        ({"model_id": "m" * 512}, {"model_id": "m" * 513}),
        ({"character_name": "c" * 512}, {"character_name": "c" * 513}),
        ({"stop_tokens": ["s"] * 64}, {"stop_tokens": ["s"] * 65}),
        ({"stop_tokens": ["s"]}, {"stop_tokens": [""]}),
        ({"tools": [{}] * 512}, {"tools": [{}] * 513}),
        ({"reasoning": "drop"}, {"reasoning": "speak"}),
        ({"names": "auto"}, {"names": "shout"}),
    ],
)
def test_texts_lists_and_choices_are_bounded(fits, beyond):
    assert params(**fits)
    with pytest.raises(msgspec.ValidationError):
        params(**beyond)


def test_what_was_not_given_is_not_passed_on():
    assert encoded(message()) == {"role": "user", "content": "hi"}
    assert encoded(params()) == {"model_id": "m"}
    assert encoded(Penalties()) == {}


def test_timing_tells_even_that_no_token_came():
    assert encoded(Timing(1.0, None, 2.0)) == {
        "queued_ms": 1.0,
        "first_token_ms": None,
        "total_ms": 2.0,
    }


@pytest.mark.parametrize("value", [message(), params(), Usage(), Image("a", "b")])
def test_a_value_that_exists_stays_as_it_is(value):
    with pytest.raises(AttributeError, match="immutable"):
        setattr(value, type(value).__struct_fields__[0], "other")
