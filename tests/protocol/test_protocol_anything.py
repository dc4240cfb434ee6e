"""Anything at all is read or refused."""

import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_stage import LIMIT, read

from waifu_llm.errors import WaifuError
from waifu_llm.protocol import TYPES, Malformed, decode

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
