"""The soak over HTTP would find what it is there to find."""

from __future__ import annotations

import json

import pytest

from soak.history import Violation
from soak.http_asks import Ask, Streamed, check_whole

OPENAI = Ask("/v1/chat/completions", {"stream": True}, "one two")
OLLAMA = Ask("/api/chat", {"stream": True}, "one two")
VECTORS = Ask("/v1/embeddings", {}, vectors=[[3.0, 1.0]])


def event(text: str) -> bytes:
    told = {"choices": [{"delta": {"content": text}}]}
    return b"data: %b\n\n" % json.dumps(told).encode()


def line(text: str, *, done: bool = False) -> bytes:
    return json.dumps({"message": {"content": text}, "done": done}).encode() + b"\n"


def heard(ask: Ask, parts: list[bytes]) -> str:
    streamed = Streamed(ask)
    for part in parts:
        streamed.take(part)
    return streamed.over()


DONE = b"data: [DONE]\n\n"
EVENTS_FAILED = b'data: {"error": {"message": "why"}}\n\n'
LINES_FAILED = b'{"error": "why"}\n'


@pytest.mark.parametrize(
    ("ask", "parts", "outcome"),
    [
        (OPENAI, [event("one "), b": still there\n\n", event("two"), DONE], "whole"),
        (OPENAI, [event("one ")[:9], event("one ")[9:], EVENTS_FAILED], "error in the stream"),
        (OLLAMA, [line("one "), line("two"), line("", done=True)], "whole"),
        (OLLAMA, [line("one "), LINES_FAILED], "error in the stream"),
    ],
)
def test_a_stream_as_promised_is_no_violation(ask: Ask, parts: list[bytes], outcome: str) -> None:
    assert heard(ask, parts) == outcome


@pytest.mark.parametrize(
    ("ask", "parts"),
    [
        (OPENAI, [event("two")]),
        (OPENAI, [event("one "), DONE]),
        (OPENAI, [event("one "), event("two")]),
        (OPENAI, [event("one "), event("two"), DONE, event("")]),
        (OPENAI, [event("one two"), DONE, b": sti"]),
        (OPENAI, []),
        (OLLAMA, [line("one two")]),
        (OLLAMA, [line("one ", done=True)]),
        (OLLAMA, [LINES_FAILED, line("one ")]),
    ],
)
def test_a_stream_that_is_not_as_promised_is_found(ask: Ask, parts: list[bytes]) -> None:
    with pytest.raises(Violation):
        heard(ask, parts)


def told(**what: object) -> bytes:
    return json.dumps(what).encode()


FAILED = told(error={"message": "why"})


@pytest.mark.parametrize(
    ("ask", "status", "body", "outcome"),
    [
        (OPENAI, 200, told(choices=[{"message": {"content": "one two"}}]), "whole"),
        (OPENAI, 502, FAILED, "status 502"),
        (OLLAMA, 200, told(message={"content": "one two"}), "whole"),
        (OLLAMA, 503, told(error="why"), "status 503"),
        (VECTORS, 200, told(data=[{"embedding": [3.0, 1.0]}]), "whole"),
    ],
)
def test_an_answer_as_promised_is_no_violation(
    ask: Ask, status: int, body: bytes, outcome: str
) -> None:
    assert check_whole(ask, status, body) == outcome


@pytest.mark.parametrize(
    ("ask", "status", "body"),
    [
        (OPENAI, 200, told(choices=[{"message": {"content": "one"}}])),
        (OPENAI, 500, FAILED),
        (OPENAI, 404, FAILED),
        (OPENAI, 502, told(error={"message": ""})),
        (OLLAMA, 200, told(message={"content": "one two three"})),
        (VECTORS, 200, told(data=[{"embedding": [3.0, 2.0]}])),
    ],
)
def test_an_answer_that_is_not_as_promised_is_found(ask: Ask, status: int, body: bytes) -> None:
    with pytest.raises(Violation):
        check_whole(ask, status, body)
