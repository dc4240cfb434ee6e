"""What the server answers, read as far as we need it: events of a stream, or a whole message."""

from __future__ import annotations

from typing import Dict, List, Optional, Union

import msgspec
from cohere_errors import of_event, of_silence
from msgspec import Struct
from waifu_http import EventStream, Pieces, cut_stream, nonsense
from waifu_provider import Finish, ToolCall

_REASONS = {
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
    "CONTENT_FILTER": "content_filter",
}
_FAILED = ("ERROR", "TIMEOUT")


class Content(Struct, frozen=True, gc=False):
    text: str = ""
    thinking: str = ""


class Function(Struct, frozen=True):
    name: str = ""
    arguments: str = ""


class Call(Struct, frozen=True):
    id: str = ""
    function: Function = Function()


class Said(Struct, frozen=True, gc=False):
    """Of an event one part of a message, of a whole answer all of them."""

    content: Union[Content, List[Content], None] = None
    tool_plan: Optional[str] = None
    tool_calls: Union[Call, List[Call], None] = None


class Tokens(Struct, frozen=True):
    input_tokens: Optional[float] = None
    output_tokens: Optional[float] = None


class Usage(Struct, frozen=True):
    tokens: Tokens = Tokens()


class Delta(Struct, frozen=True, gc=False):
    message: Said = Said()
    finish_reason: Optional[str] = None
    usage: Optional[Usage] = None
    error: Optional[str] = None


class Event(Struct, frozen=True, gc=False):
    """One `data:` of a stream."""

    type: str = ""
    index: int = 0
    delta: Delta = Delta()
    message: str = ""


_event = msgspec.json.Decoder(Event).decode
_whole = msgspec.json.Decoder(Delta).decode


class EventReader(EventStream):
    """Reads a stream, and gathers what is known of an answer only at its end."""

    def __init__(self):
        super().__init__()
        self._spoke = False
        self._calls: Dict[int, List[str]] = {}
        self._plan: List[str] = []
        self._ending: Optional[Delta] = None

    def take(self, data, pieces):
        if data.strip() == b"[DONE]":
            self.complete = True
            return
        event = _read(_event, data)
        if event.type == "message-end":
            self._ending = event.delta
        elif event.type in ("", "error") and event.message:
            raise of_event(event.message)
        else:
            self._hear(event.index, event.delta.message, pieces)

    def end(self):
        if self._ending is None:
            raise cut_stream()
        if self._ending.finish_reason in _FAILED:
            raise of_event(self._ending.error)
        reason = _REASONS.get(self._ending.finish_reason, "stop")
        if reason == "content_filter" and not self._spoke:
            raise of_silence()
        plan = "".join(self._plan) or None
        for id, name, arguments in self._calls.values():
            yield ToolCall(id, name, arguments or "{}", plan)
            plan = None
        yield Finish(reason, *_counted(self._ending.usage))

    def _hear(self, index, said, pieces):
        contents = said.content if isinstance(said.content, list) else [said.content or Content()]
        for content in contents:
            self._spoke = self._spoke or bool(content.text)
            if content.thinking:
                pieces.think(content.thinking)
            if content.text:
                pieces.say(content.text)
        if said.tool_plan:
            self._plan.append(said.tool_plan)
            pieces.think(said.tool_plan)
        calls = said.tool_calls if isinstance(said.tool_calls, list) else [said.tool_calls]
        for place, call in enumerate(filter(None, calls)):
            self._add_call(index + place, call)

    def _add_call(self, number, part):
        """A call comes in parts: first its name, then its arguments bit by bit."""
        call = self._calls.setdefault(number, ["", "", ""])
        call[0] += part.id
        call[1] += part.function.name
        call[2] += part.function.arguments


class MessageReader(EventReader):
    """Reads an answer that comes whole."""

    def __init__(self):
        super().__init__()
        self._data = []

    def feed(self, data):
        self._data.append(data)
        return ()

    def end(self):
        self._ending, pieces = _read(_whole, b"".join(self._data)), Pieces()
        self._hear(0, self._ending.message, pieces)
        yield from pieces.all()
        yield from super().end()


def _counted(usage):
    tokens = usage.tokens if usage else Tokens()
    both = (tokens.input_tokens, tokens.output_tokens)
    return [None if count is None else round(count) for count in both]


def _read(decode, data):
    try:
        return decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise nonsense(exc, data) from None
