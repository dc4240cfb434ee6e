"""What is asked over HTTP, in the words of two APIs, and what each answer is held against."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from soak.history import Violation

COUNTED = 20_000
COUNT = " ".join(str(number) for number in range(1, COUNTED + 1))
VENDORS = " word" * COUNTED
"""What the endless ones say: at their pace nobody hears the end of it."""
HONEST = {429, 499, 502, 503, 504}
"""Statuses of an answer that could not be: that one fails is no fault, when it is said."""

_numbers = itertools.count()


@dataclass
class Ask:
    """One request. `expected` is all that may ever be said in answer to it."""

    path: str
    body: dict[str, Any]
    expected: str = ""
    vectors: list[list[float]] = field(default_factory=list)
    session: str = ""

    @property
    def streams(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def is_ollamas(self) -> bool:
        return self.path.startswith("/api/")


def draw_ask(draw: random.Random) -> Ask:
    [make] = draw.choices(list(_KINDS), list(_KINDS.values()))
    return make(draw)


def draw_endless(draw: random.Random) -> Ask:
    """One that ends only when it is interrupted."""
    session = f"h{next(_numbers)}"
    pace = {"delay_ms": 20, "first_delay_ms": draw.choice([0, 0, 50, 60_000])}
    model, due = draw.choice([("echo/count", COUNT), ("openai/bench", VENDORS)])
    extra = {**pace, "fake": {**pace, "chunks": COUNTED, "any_model": True}}
    body = {**_asked("go"), "model": model, "max_tokens": COUNTED, "extra": extra}
    body |= {"stream": draw.random() < 0.7, "session": session}
    return Ask("/v1/chat/completions", body, due, session=session)


def _chat(draw: random.Random) -> Ask:
    """Both providers say the same words: each reads its own part of `extra`."""
    words, text = _words(draw)
    pace, silence = draw.choice([0, 0, 1, 5, 20]), draw.choice([0, 0, 0, 50, 500])
    end = draw.choice(["done"] * 8 + ["cut", "error", "reset"])
    fake = {"text": words, "delay_ms": pace, "first_delay_ms": silence, "end": end}
    fake |= {"any_model": True}
    extra: dict[str, Any] = {"delay_ms": pace, "first_delay_ms": silence, "fake": fake}
    if draw.random() < 0.1:
        extra |= {"error": "RATE_LIMITED", "fail_after": draw.randint(0, len(words) - 1)}
    model = draw.choice(["echo/echo", "echo/echo", "openai/bench"])
    body = {**_asked(text), "model": model, "stream": draw.random() < 0.7, "extra": extra}
    return Ask("/v1/chat/completions", body, text)


def _completion(draw: random.Random) -> Ask:
    _, text = _words(draw)
    body = {"model": "echo/echo", "prompt": text, "stream": draw.random() < 0.5}
    return Ask("/v1/completions", body, text)


def _ollama_chat(draw: random.Random) -> Ask:
    _, text = _words(draw)
    model = draw.choice(["echo/echo", "slow"])
    return Ask("/api/chat", {**_asked(text), "model": model, "stream": draw.random() < 0.7}, text)


def _ollama_generate(draw: random.Random) -> Ask:
    _, text = _words(draw)
    body = {"model": "slow", "prompt": text, "stream": draw.random() < 0.7}
    return Ask("/api/generate", body, text)


def _embedding(draw: random.Random) -> Ask:
    texts = [_words(draw)[1] for _ in range(draw.randint(1, 4))]
    due = [[float(len(text)), float(len(text.split()))] for text in texts]
    path = draw.choice(["/v1/embeddings", "/api/embed"])
    return Ask(path, {"model": "echo/echo", "input": texts}, vectors=due)


def _words(draw: random.Random) -> tuple[list[str], str]:
    """That nobody else is told."""
    id = f"h{next(_numbers)}"
    words = [f"{id}:{number} " for number in range(draw.randint(1, 60))]
    return words, "".join(words)


def _asked(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


_KINDS = {_chat: 8, _completion: 2, _ollama_chat: 3, _ollama_generate: 2, _embedding: 2}


# What is answered


def check_whole(ask: Ask, status: int, body: bytes) -> str:
    """Of an answer that was no stream: returns what came of it.

    Raises:
        Violation: When it is neither whole nor an honest failure.
    """
    told = json.loads(body)
    if status != 200:
        return _failed(ask, status, told)
    if ask.vectors:
        data = told.get("embeddings") or [each["embedding"] for each in told["data"]]
        said, due = data, ask.vectors
    else:
        said, due = _text_of(told), ask.expected
    if said != due:
        raise Violation(f"{ask.path} answered {said!r}, where {due!r} was due")
    return "whole"


def _failed(ask: Ask, status: int, told: Any) -> str:
    why = told["error"] if ask.is_ollamas else told["error"]["message"]
    if status not in HONEST or not isinstance(why, str) or not why:
        raise Violation(f"{ask.path} {ask.body} was answered {status}: {told}")
    return f"status {status}"


def _text_of(told: dict[str, Any]) -> str:
    if "choices" in told:
        choice = told["choices"][0]
        return choice["message"]["content"] if "message" in choice else choice["text"]
    return told["message"]["content"] if "message" in told else told["response"]


class Streamed:
    """What is heard of one stream."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._rest = b""
        self.text = ""
        self.end = ""
        """What came of it; empty while it goes on."""

    def take(self, data: bytes) -> None:
        """
        Raises:
            Violation: When something is said that may not come here.
        """
        *whole, self._rest = (self._rest + data).split(b"\n\n" if self._is_events else b"\n")
        for each in whole:
            if self.end:
                raise Violation(f"more comes after the end of {self._ask}: {each!r}")
            self._hear(each)

    def over(self) -> str:
        """The module says that nothing follows.

        Raises:
            Violation: When that cannot be.
        """
        if self._rest or not self.end:
            raise Violation(f"{self._ask} was torn off after {self.text!r}{self._rest!r}")
        if self.end == "whole" and self.text != self._ask.expected:
            raise Violation(f"{self._ask} ended as whole after {self.text!r}")
        return self.end

    @property
    def _is_events(self) -> bool:
        return not self._ask.is_ollamas

    def _hear(self, part: bytes) -> None:
        if self._is_events and part.startswith(b":"):
            return
        data = part.removeprefix(b"data: ")
        if data == b"[DONE]":
            self.end = "whole"
            return
        told = json.loads(data)
        if "error" in told:
            self.end = "error in the stream"
            return
        self.text += "".join(_pieces(told))
        if not self._ask.expected.startswith(self.text):
            raise Violation(f"another's words: {told}, where {self._ask.expected!r} was due")
        if told.get("done"):
            self.end = "whole"


def _pieces(told: dict[str, Any]) -> Iterator[str]:
    if "message" in told or "response" in told:
        yield _text_of(told)
    for choice in told.get("choices", ()):
        yield choice["text"] if "text" in choice else choice["delta"].get("content") or ""
