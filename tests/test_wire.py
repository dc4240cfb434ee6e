import json
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waifu_llm.backend import Request
from waifu_llm.conversation import Image, Message, Params, Penalties, ToolCall, Usage
from waifu_llm.errors import RateLimited, Unexpected
from waifu_llm.wire import (
    MAX_LINE,
    Done,
    Line,
    LineReader,
    LineTooLong,
    Progressed,
    ProviderFailure,
    decode_line,
    encode_generate,
    encode_operation,
)


def fed(reader, pieces):
    return [line for piece in pieces for line in reader.feed(piece)]


def cut(data, places):
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


# Reading lines


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"one\ntwo\n"], [b"one", b"two"]),
        ([b"on", b"e\ntw", b"o\n"], [b"one", b"two"]),
        ([b"one", b"\n", b"two", b"\n"], [b"one", b"two"]),
        ([b"", b"one\n", b""], [b"one"]),
        ([b"\n\n"], [b"", b""]),
        ([b"one\r\n"], [b"one\r"]),
        ([b"unfinished"], []),
    ],
)
def test_lines_are_cut_at_newlines_alone(pieces, lines):
    assert fed(LineReader(), pieces) == lines


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\xff", b"{}", b"\x00"]).map(bytes)),
    st.lists(st.integers(0, 1000)),
)
def test_however_a_stream_is_cut_its_lines_are_the_same(parts, places):
    data = b"".join(parts)
    assert fed(LineReader(), cut(data, places)) == data.split(b"\n")[:-1]


@pytest.mark.parametrize("pieces", [[b"x" * 11], [b"x"] * 11, [b"ok\n" + b"x" * 11]])
def test_what_outgrows_the_limit_without_an_end_is_too_long(pieces):
    with pytest.raises(LineTooLong, match="more than 10 bytes"):
        fed(LineReader(limit=10), pieces)


def test_a_line_of_just_the_limit_is_taken():
    reader = LineReader(limit=10)
    assert fed(reader, [b"x" * 10, b"\n"] * 3) == [b"x" * 10] * 3


def test_the_limit_is_for_each_line_and_not_for_all():
    assert len(fed(LineReader(limit=10), [b"12345\n123"] * 100)) == 100


def test_a_line_may_have_32_mebibytes():
    assert MAX_LINE == 32 * 1024 * 1024
    reader = LineReader()
    assert fed(reader, [b"x" * MAX_LINE, b"\n"]) == [b"x" * MAX_LINE]


# Lines from a provider


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b'{"ready":1,"python":"3.11"}', Line(ready=1)),
        (b'{"id":7,"chunk":"a\\u304b"}', Line(7, chunk="aか")),
        (b'{"id":7,"chunk":""}', Line(7, chunk="")),
        (b'{"id":7,"reasoning":"hm"}', Line(7, reasoning="hm")),
        (b'{"id":7,"done":{}}', Line(7, done=Done())),
        (b'{"id":7,"done":{"models":["a"]}}', Line(7, done=Done(models=["a"]))),
        (
            b'{"id":7,"done":{"finish_reason":"tool_calls","usage":{"input_tokens":1},'
            b'"tool_calls":[{"id":"1","name":"look","arguments":"{}"}]}}',
            Line(7, done=Done("tool_calls", Usage(1), [ToolCall("1", "look", "{}")])),
        ),
        (
            b'{"id":7,"error":{"code":"TIMEOUT","message":"late"}}',
            Line(7, error=ProviderFailure("TIMEOUT", "late")),
        ),
        (
            b'{"id":7,"progress":{"fraction":0.5,"message":"half"}}',
            Line(7, progress=Progressed(0.5, "half")),
        ),
    ],
)
def test_each_line_of_a_provider_is_read(data, line):
    assert decode_line(data) == line


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"Downloading...",
        b"[]",
        b"null",
        b'{"id":"7"}',
        b'{"id":1.5}',
        b'{"id":7,"chunk":5}',
        b'{"id":7,"chunk":["a"]}',
        b'{"id":7,"done":1}',
        b'{"id":7,"done":{"finish_reason":"bored"}}',
        b'{"id":7,"done":{"models":[1]}}',
        b'{"id":7,"error":"no"}',
        b'{"id":7,"error":{"code":"TIMEOUT"}}',
        b'{"id":7,"chunk":"\\ud800"}',
    ],
)
def test_what_is_no_line_is_refused(data):
    with pytest.raises(msgspec.MsgspecError):
        decode_line(data)


def test_a_failure_becomes_the_error_of_its_code():
    error = ProviderFailure("RATE_LIMITED", "slow down", 1500).as_error()
    assert type(error) is RateLimited
    assert (error.message, error.retry_after_ms) == ("slow down", 1500)
    assert type(ProviderFailure("MOOD", "no").as_error()) is Unexpected


# Lines to a provider


def test_an_operation_says_only_what_it_must():
    assert encode_operation(3, "ping") == b'{"id":3,"op":"ping"}\n'
    assert json.loads(encode_operation(4, "load", settings={"api_key": "k"}, model_id="m")) == {
        "id": 4,
        "op": "load",
        "settings": {"api_key": "k"},
        "model_id": "m",
    }


def test_a_generation_is_passed_on_whole():
    messages = [Message("user", "hi", "DEV", [Image("image/png", "aGk=")])]
    params = Params(model_id="m", penalties=Penalties(presence=1), extra={"top_k": None})
    line = encode_generate(5, Request(messages, params, True))
    assert json.loads(line) == {
        "id": 5,
        "op": "generate",
        "stream": True,
        "prompt": None,
        "messages": [
            {
                "role": "user",
                "content": "hi",
                "name": "DEV",
                "images": [{"mime": "image/png", "data": "aGk="}],
            }
        ],
        "params": {"model_id": "m", "penalties": {"presence": 1}, "extra": {"top_k": None}},
    }


@settings(deadline=None)
@given(st.text())
def test_a_text_can_neither_end_its_line_nor_change(text):
    line = encode_generate(1, Request([Message("user", text)], Params(model_id="m"), False))
    assert (line.count(b"\n"), line[-1:]) == (1, b"\n")
    assert json.loads(line)["messages"][0]["content"] == text
