"""What the server answers, read as far as we need it: events of a stream, or a whole completion."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Union

import msgspec
from mistral_errors import of_event, of_failure
from msgspec import Struct
from waifu_http import EventStream, Pieces, cut_stream, nonsense
from waifu_provider import Finish, ToolCall

_REASONS = {"length": "length", "model_length": "length", "tool_calls": "tool_calls"}


class Part(Struct, frozen=True):
    """Of what a thinking model says; `thinking` holds parts of its own."""

    type: str = ""
    text: str = ""
    thinking: List[Any] = []


class Function(Struct, frozen=True):
    name: str = ""
    arguments: Union[str, Dict[str, Any]] = ""


class Call(Struct, frozen=True):
    id: Optional[str] = None
    index: Optional[int] = None
    function: Function = Function()


class Said(Struct, frozen=True, gc=False):
    """`delta` of an event, `message` of a completion."""

    content: Union[str, List[Part], None] = None
    tool_calls: Optional[List[Call]] = None


class Choice(Struct, frozen=True, gc=False):
    index: int = 0
    delta: Said = Said()
    message: Said = Said()
    finish_reason: Optional[str] = None


class Usage(Struct, frozen=True, gc=False):
    prompt_tokens: Optional[int] = None
    completion_tokens: Optional[int] = None


class Event(Struct, gc=False):
    """One `data:` of a stream, or a whole completion."""

    choices: List[Choice] = []
    usage: Optional[Usage] = None
    object: str = ""
    error: Any = None


_decode = msgspec.json.Decoder(Event).decode


class EventReader(EventStream):
    """Reads a stream, and gathers what is known of an answer only at its end."""

    def __init__(self):
        super().__init__()
        self._calls: Dict[int, Dict[str, str]] = {}
        self._reason: Optional[str] = None
        self._usage: Optional[Usage] = None

    def take(self, data, pieces):
        if data.strip() == b"[DONE]":
            self.complete = True
            return
        event = _read(data)
        if event.usage is not None:
            self._usage = event.usage
        for choice in event.choices:
            if choice.index == 0:
                self._reason = choice.finish_reason or self._reason
                self._hear(choice.delta, pieces)

    def end(self):
        if self._reason is None:
            raise cut_stream()
        if self._reason == "error":
            raise of_failure()
        for call in self._calls.values():
            yield ToolCall(**call)
        counted = self._usage or Usage()
        reason = _REASONS.get(self._reason, "stop")
        yield Finish(reason, counted.prompt_tokens, counted.completion_tokens)

    def _hear(self, said, pieces):
        if isinstance(said.content, str):
            pieces.say(said.content)
        else:
            self._hear_parts(said.content or (), pieces)
        for place, part in enumerate(said.tool_calls or ()):
            self._add_call(place if part.index is None else part.index, part)

    def _hear_parts(self, parts, pieces):
        for part in parts:
            if part.type == "thinking":
                pieces.think("".join(each.get("text", "") for each in part.thinking))
            elif part.text:
                pieces.say(part.text)

    def _add_call(self, number, part):
        """A call may come in parts, its arguments as text or as what they mean."""
        call = self._calls.setdefault(number, {"id": "", "name": "", "arguments": ""})
        arguments = part.function.arguments
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        call["id"] = part.id or call["id"]
        call["name"] = part.function.name or call["name"]
        call["arguments"] += arguments


class CompletionReader(EventReader):
    """Reads an answer that comes whole."""

    def __init__(self):
        super().__init__()
        self._data = []

    def feed(self, data):
        self._data.append(data)
        return ()

    def end(self):
        event, pieces = _read(b"".join(self._data)), Pieces()
        self._usage = event.usage
        for choice in event.choices:
            if choice.index == 0:
                self._reason = choice.finish_reason
                self._hear(choice.message, pieces)
        yield from pieces.all()
        yield from super().end()


def _read(data):
    try:
        event = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise nonsense(exc, data) from None
    if event.error:
        raise of_event(event.error)
    if event.object == "error":
        raise of_event(msgspec.json.decode(data))
    return event
