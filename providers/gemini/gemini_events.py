"""What the server answers, read as far as we need it. A whole answer is one event."""

from __future__ import annotations

import uuid
from typing import Any, Dict, List, Optional

import msgspec
from gemini_errors import of_event, of_silence
from msgspec import Struct
from waifu_http import EventStream, Pieces, cut_stream, nonsense
from waifu_provider import Finish, ToolCall

_REASONS = {
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "MODEL_ARMOR": "content_filter",
}
_SILENT = {*_REASONS, "MALFORMED_FUNCTION_CALL"} - {"MAX_TOKENS"}


class Camel(Struct, rename="camel", frozen=True, gc=False):
    """Names are spelt in the vendor's way."""


class FunctionCall(Camel, frozen=True):
    name: str = ""
    id: Optional[str] = None
    args: Dict[str, Any] = {}


class Part(Camel, frozen=True):
    text: str = ""
    thought: bool = False
    function_call: Optional[FunctionCall] = None
    thought_signature: Optional[str] = None


class Content(Camel, frozen=True):
    parts: List[Part] = []


class Candidate(Camel, frozen=True):
    content: Content = Content()
    finish_reason: Optional[str] = None
    finish_message: Optional[str] = None
    index: int = 0


class Feedback(Camel, frozen=True):
    block_reason: Optional[str] = None
    block_reason_message: Optional[str] = None


class Usage(Camel, frozen=True):
    prompt_token_count: int = 0
    tool_use_prompt_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int = 0


class Event(Camel, frozen=True):
    candidates: List[Candidate] = []
    prompt_feedback: Optional[Feedback] = None
    usage_metadata: Optional[Usage] = None
    error: Optional[Dict[str, Any]] = None


_decode = msgspec.json.Decoder(Event).decode


class Reader(EventStream):
    """Reads a stream, and gathers what is known of an answer only at its end."""

    def __init__(self):
        super().__init__()
        self._spoke = False
        self._calls: List[ToolCall] = []
        self._reason: Optional[str] = None
        self._why: Optional[str] = None
        self._usage: Optional[Usage] = None

    def take(self, data, pieces):
        event = _read(data)
        if event.error:
            raise of_event(event.error)
        if event.usage_metadata:
            self._usage = event.usage_metadata
        if event.prompt_feedback and event.prompt_feedback.block_reason:
            blocked = event.prompt_feedback
            raise of_silence(blocked.block_reason, blocked.block_reason_message)
        for candidate in event.candidates:
            if candidate.index == 0:
                self._hear(candidate, pieces)

    def end(self):
        if self._reason is None:
            raise cut_stream()
        if self._reason in _SILENT and not self._spoke and not self._calls:
            raise of_silence(self._reason, self._why)
        yield from self._calls
        reason = _REASONS.get(self._reason) or ("tool_calls" if self._calls else "stop")
        yield Finish(reason, *self._counted())

    def _hear(self, candidate, pieces):
        if candidate.finish_reason is not None:
            self._reason, self._why = candidate.finish_reason, candidate.finish_message
        for part in candidate.content.parts:
            if part.function_call is not None:
                self._calls.append(_call(part))
            elif part.thought:
                pieces.think(part.text)
            elif part.text:
                self._spoke = True
                pieces.say(part.text)

    def _counted(self):
        """Thoughts are paid for as what is said."""
        if (used := self._usage) is None:
            return None, None
        read = used.prompt_token_count + used.tool_use_prompt_token_count
        return read, used.candidates_token_count + used.thoughts_token_count


class WholeReader(Reader):
    """Reads an answer that comes whole."""

    def __init__(self):
        super().__init__()
        self._data = []

    def feed(self, data):
        self._data.append(data)
        return ()

    def end(self):
        pieces = Pieces()
        self.take(b"".join(self._data), pieces)
        yield from pieces.all()
        yield from super().end()


def _call(part):
    """Older models give their calls no ids."""
    call = part.function_call
    id = call.id or f"call_{uuid.uuid4().hex}"
    return ToolCall(id, call.name, msgspec.json.encode(call.args).decode(), part.thought_signature)


def _read(data):
    try:
        return _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise nonsense(exc, data) from None
