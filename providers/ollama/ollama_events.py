"""What the server answers, read as far as we need it: a line of JSON for each piece of a stream,
or one for a whole answer."""

from __future__ import annotations

import json
import uuid
from typing import Any, Dict, List, Optional

import msgspec
from msgspec import Struct
from ollama_errors import of_line
from waifu_http import cut_stream, nonsense
from waifu_provider import Finish, Reasoning, ToolCall


class Function(Struct, gc=False):
    name: str = ""
    arguments: Optional[Dict[str, Any]] = None


class Call(Struct, gc=False):
    function: Function
    id: str = ""


class Said(Struct, gc=False):
    content: str = ""
    thinking: Optional[str] = None
    tool_calls: Optional[List[Call]] = None


class Line(Struct, gc=False):
    """Of /api/chat, with a `message`, of /api/generate, with a `response`, or of /api/pull."""

    message: Optional[Said] = None
    response: str = ""
    thinking: Optional[str] = None
    done: bool = False
    done_reason: Optional[str] = None
    prompt_eval_count: Optional[int] = None
    eval_count: Optional[int] = None
    status: str = ""
    digest: str = ""
    total: int = 0
    completed: int = 0
    error: Optional[str] = None


_decode = msgspec.json.Decoder(Line).decode


class LineReader:
    """Cuts what arrives into lines. What came before an error is given out before it is raised."""

    def __init__(self):
        self._rest = b""

    def feed(self, data):
        *lines, self._rest = (self._rest + data).split(b"\n")
        return (_read(line) for line in lines if line.strip())

    def end(self):
        """A whole answer has no end of line."""
        return self.feed(b"\n")


class Answer:
    """Turns lines into what a provider yields, and gathers what is known only at the end."""

    def __init__(self):
        self._calls = []
        self._thoughts = []
        self._last = None

    def take(self, lines):
        for line in lines:
            said = line.message or Said(line.response, line.thinking)
            if said.thinking:
                self._thoughts.append(said.thinking)
                yield Reasoning(said.thinking)
            if said.content:
                yield said.content
            self._calls += said.tool_calls or ()
            if line.done:
                self._last = line

    def end(self):
        if self._last is None:
            raise cut_stream()
        yield from self._tool_calls()
        reason = "length" if self._last.done_reason == "length" else "stop"
        reason = "tool_calls" if self._calls else reason
        yield Finish(reason, self._last.prompt_eval_count, self._last.eval_count)

    def _tool_calls(self):
        """A model that thought before it called wants to see that again beside its first call."""
        signature = "".join(self._thoughts) or None
        for call in self._calls:
            number = call.id or f"call_{uuid.uuid4().hex[:8]}"
            arguments = json.dumps(call.function.arguments or {}, ensure_ascii=False)
            yield ToolCall(number, call.function.name, arguments, signature)
            signature = None


class Pulled:
    """How far a pull is: layers come one after the other, each with its own size."""

    def __init__(self, progress):
        self._progress = progress
        self._sizes = {}
        self._done = {}
        self._furthest = 0.0
        self._status = ""

    def take(self, lines):
        for line in lines:
            self._status = line.status
            if line.total:
                self._sizes[line.digest], self._done[line.digest] = line.total, line.completed
                fraction = sum(self._done.values()) / sum(self._sizes.values())
                self._furthest = max(self._furthest, fraction)
            self._progress(self._furthest, line.status)

    def end(self):
        if self._status != "success":
            raise cut_stream()


def _read(data):
    try:
        line = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise nonsense(exc, data) from None
    if line.error is not None:
        raise of_line(line.error)
    return line
