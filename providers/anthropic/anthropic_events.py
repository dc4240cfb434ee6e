"""What the server answers, read as far as we need it: events of a stream, or a whole message."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

import msgspec
from anthropic_errors import of_event, of_refusal
from msgspec import Struct
from waifu_http import EventStream, Pieces, cut_stream, nonsense
from waifu_provider import Finish, ToolCall

_REASONS = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_THOUGHTS = ("thinking", "redacted_thinking")


class Error(Struct, frozen=True):
    type: str = ""
    message: str = ""


class Declined(Struct, frozen=True):
    explanation: Optional[str] = None


class Usage(Struct, frozen=True, gc=False):
    input_tokens: Optional[int] = None
    cache_creation_input_tokens: Optional[int] = None
    cache_read_input_tokens: Optional[int] = None
    output_tokens: Optional[int] = None


class Block(Struct):
    """A part of the answer: text, a call, a thought, or something that we have no use for."""

    type: str = ""
    text: str = ""
    id: str = ""
    name: str = ""
    input: Any = None
    thinking: str = ""
    signature: str = ""
    data: str = ""


class Delta(Struct, frozen=True, gc=False):
    """What is added to a block, or to the message: each kind has a field of its own."""

    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    stop_reason: Optional[str] = None
    stop_details: Optional[Declined] = None


class Message(Struct, frozen=True):
    content: List[Block] = []
    stop_reason: Optional[str] = None
    stop_details: Optional[Declined] = None
    usage: Usage = Usage()


class Event(Struct, gc=False):
    type: str = ""
    index: int = 0
    delta: Delta = Delta()
    content_block: Optional[Block] = None
    message: Optional[Message] = None
    usage: Optional[Usage] = None
    error: Optional[Error] = None


_event = msgspec.json.Decoder(Event).decode
_message = msgspec.json.Decoder(Message).decode


class Ending:
    """What is known of an answer only at its end."""

    def __init__(self):
        super().__init__()
        self._spoke = False
        self._blocks: Dict[int, Block] = {}
        self._stop_reason: Optional[str] = None
        self._declined: Optional[Declined] = None
        self._input_tokens: Optional[int] = None
        self._output_tokens: Optional[int] = None

    def end(self):
        calls = [block for block in self._blocks.values() if block.type == "tool_use"]
        if self._stop_reason == "refusal" and not self._spoke and not calls:
            raise of_refusal(self._declined)
        signature = _signature([each for each in self._blocks.values() if each.type in _THOUGHTS])
        for call in calls:
            yield ToolCall(call.id, call.name, call.input, signature)
            signature = None
        reason = _REASONS.get(self._stop_reason, "stop")
        yield Finish(reason, self._input_tokens, self._output_tokens)

    def _stopped(self, said):
        self._stop_reason = said.stop_reason
        self._declined = said.stop_details

    def _count(self, usage):
        """What was read from a cache was read as well."""
        parts = (
            usage.input_tokens,
            usage.cache_creation_input_tokens,
            usage.cache_read_input_tokens,
        )
        if usage.input_tokens is not None:
            self._input_tokens = sum(part or 0 for part in parts)
        if usage.output_tokens is not None:
            self._output_tokens = usage.output_tokens


class EventReader(Ending, EventStream):
    """Reads a stream."""

    def take(self, data, pieces):
        event = _read(_event, data)
        if event.type == "content_block_delta":
            self._add(event.index, event.delta, pieces)
        elif event.type == "content_block_start":
            self._begin(event.index, event.content_block, pieces)
        elif event.type == "message_start":
            self._count(event.message.usage)
        elif event.type == "message_delta":
            self._stopped(event.delta)
            self._count(event.usage or Usage())
        elif event.type == "message_stop":
            self.complete = True
        elif event.type == "error":
            raise of_event(event.error or Error())

    def end(self):
        if not self.complete and self._stop_reason is None:
            raise cut_stream()
        for block in self._blocks.values():
            if block.type == "tool_use":
                block.input = block.input or "{}"
        return super().end()

    def _begin(self, index, block, pieces):
        """A call's arguments are an empty object here, and follow as text."""
        block.input = ""
        self._blocks[index] = block
        if block.text:
            self._say(block.text, pieces)
        if block.thinking:
            pieces.think(block.thinking)

    def _add(self, index, delta, pieces):
        if delta.text:
            self._say(delta.text, pieces)
            return
        block = self._blocks[index]
        block.input += delta.partial_json
        block.signature += delta.signature
        if delta.thinking:
            block.thinking += delta.thinking
            pieces.think(delta.thinking)

    def _say(self, text, pieces):
        self._spoke = True
        pieces.say(text)


class MessageReader(Ending):
    """Reads an answer that comes whole."""

    complete = False

    def __init__(self):
        super().__init__()
        self._data = []

    def feed(self, data):
        self._data.append(data)
        return ()

    def end(self):
        message, pieces = _read(_message, b"".join(self._data)), Pieces()
        self._stopped(message)
        self._count(message.usage)
        for index, block in enumerate(message.content):
            self._blocks[index] = block
            self._spoke = self._spoke or bool(block.text)
            if block.thinking:
                pieces.think(block.thinking)
            if block.type == "tool_use":
                block.input = msgspec.json.encode(block.input or {}).decode()
            pieces.say(block.text)
        yield from pieces.all()
        yield from super().end()


def _signature(thoughts):
    """The vendor wants to see the thoughts that led to a call again, beside it."""
    if not thoughts:
        return None
    kept = []
    for block in thoughts:
        fields = ("thinking", "signature") if block.type == "thinking" else ("data",)
        kept.append({"type": block.type, **{name: getattr(block, name) for name in fields}})
    return msgspec.json.encode(kept).decode()


def _read(decode, data):
    try:
        return decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise nonsense(exc, data) from None
