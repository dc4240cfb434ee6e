"""What the server answers, read as far as we need it: events of a stream, or a whole completion."""

from __future__ import annotations

from typing import Dict, List, Optional

import msgspec
from msgspec import Struct
from openai_errors import of_cut_stream, of_event, of_nonsense
from waifu_provider import Finish, ProviderError, Reasoning, ToolCall

_REASONS = {
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class Function(Struct, frozen=True):
    name: Optional[str] = None
    arguments: Optional[str] = None


class Call(Struct, frozen=True):
    index: int = 0
    id: Optional[str] = None
    function: Function = Function()


class Said(Struct, frozen=True):
    """`delta` of an event, `message` of a completion. A refusal is what the model has to say."""

    content: Optional[str] = None
    refusal: Optional[str] = None
    reasoning_content: Optional[str] = None
    reasoning: Optional[str] = None
    tool_calls: Optional[List[Call]] = None


class Choice(Struct, frozen=True):
    index: int = 0
    delta: Said = Said()
    message: Said = Said()
    finish_reason: Optional[str] = None


class Usage(Struct, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Event(Struct, frozen=True):
    """One `data:` of a stream, or a whole completion."""

    choices: List[Choice] = []
    usage: Optional[Usage] = None
    error: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(Event).decode
_NO_ERROR = (b"", b"null")


def read_completion(data):
    """The pieces of a whole answer."""
    event = _read(data)
    calls = {}
    reason = "stop"
    for choice in event.choices:
        if choice.index == 0:
            yield from _pieces(choice.message)
            _add_calls(calls, choice.message.tool_calls or [], numbered=False)
            reason = choice.finish_reason
    yield from _ending(calls, reason, event.usage)


class EventReader:
    """Cuts a stream into events, and gathers what is known only at its end."""

    def __init__(self):
        self._rest = b""
        self._calls: Dict[int, ToolCall] = {}
        self._reason = None
        self._usage = None
        self.complete = False

    def feed(self, data):
        """What these bytes say: text that stands together comes as one."""
        text = []
        try:
            for payload in self._payloads(data):
                yield from self._take(_read(payload), text)
        except ProviderError:
            yield "".join(text)  # what was said before it went wrong was said
            raise
        if text:
            yield "".join(text)

    def end(self):
        if not self.complete and self._reason is None:
            raise of_cut_stream()
        yield from _ending(self._calls, self._reason, self._usage)

    def _payloads(self, data):
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if not line.startswith(b"data:"):
                continue  # an empty line, a comment, a field that we do not need
            payload = line[5:].strip()
            if payload == b"[DONE]":
                self.complete = True
                return
            yield payload

    def _take(self, event, text):
        self._usage = event.usage or self._usage
        for choice in event.choices:
            if choice.index != 0:
                continue
            self._reason = choice.finish_reason or self._reason
            said = choice.delta
            if said.content is not None and said.tool_calls is None:
                text.append(said.content)
                continue
            if text:
                yield "".join(text)
                text.clear()
            yield from _pieces(said)
            _add_calls(self._calls, said.tool_calls or [], numbered=True)


def _read(data):
    try:
        event = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise of_nonsense(exc, data) from None
    if bytes(event.error) not in _NO_ERROR:
        raise of_event(event.error)
    return event


def _pieces(said):
    if thought := said.reasoning_content or said.reasoning:
        yield Reasoning(thought)
    if text := (said.content or "") + (said.refusal or ""):
        yield text


def _add_calls(calls, parts, numbered):
    """A call comes in parts: first its name, then its arguments bit by bit."""
    for place, part in enumerate(parts):
        number = part.index if numbered else place
        call = calls.setdefault(number, {"id": "", "name": "", "arguments": ""})
        call["id"] = part.id or call["id"]
        call["name"] += part.function.name or ""
        call["arguments"] += part.function.arguments or ""


def _ending(calls, reason, usage):
    for call in calls.values():
        yield ToolCall(**call)
    counted = (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)
    yield Finish(_REASONS.get(reason, "stop"), *counted)
