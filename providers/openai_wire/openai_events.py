"""What the server answers, read as far as we need it: events of a stream, or a whole completion."""

from __future__ import annotations

from typing import Dict, List, Optional

import msgspec
from msgspec import Struct
from openai_errors import of_event
from waifu_http import cut_stream, nonsense
from waifu_provider import Finish, ProviderError, Reasoning, ToolCall

_REASONS = {
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class Function(Struct, frozen=True, gc=False):
    name: Optional[str] = None
    arguments: Optional[str] = None


class Call(Struct, frozen=True, gc=False):
    index: Optional[int] = None
    id: Optional[str] = None
    function: Function = Function()


class Said(Struct, frozen=True, gc=False):
    """`delta` of an event, `message` of a completion. A refusal is what the model has to say."""

    content: Optional[str] = None
    refusal: Optional[str] = None
    reasoning_content: Optional[str] = None
    reasoning: Optional[str] = None
    tool_calls: Optional[List[Call]] = None


class Choice(Struct, frozen=True, gc=False):
    index: int = 0
    delta: Said = Said()
    message: Said = Said()
    text: Optional[str] = None
    """What follows a plain prompt."""
    finish_reason: Optional[str] = None


class Usage(Struct, frozen=True, gc=False):
    prompt_tokens: Optional[int] = None
    completion_tokens: Optional[int] = None


class Event(Struct, gc=False):
    """One `data:` of a stream, or a whole completion."""

    choices: List[Choice] = []
    usage: Optional[Usage] = None
    error: msgspec.Raw = msgspec.Raw()


_NO_ERROR = (b"", b"null")
_DONE = (b"data: [DONE]", b"data:[DONE]")


class Reader:
    """Gathers what is known of an answer only at its end."""

    decode = msgspec.json.Decoder(Event).decode
    """A vendor that says more has an event of its own."""

    def __init__(self, signs_calls=False):
        self.complete = False
        self._signs_calls = signs_calls
        self._thoughts: Optional[List[str]] = None
        self._calls: Dict[int, Dict[str, str]] = {}
        self._reason = None
        self._usage = None

    def end(self):
        """What the model thought is signed under the first call, for those who want it back."""
        signature = None if self._thoughts is None else "".join(self._thoughts)
        for call in self._calls.values():
            yield ToolCall(**call, signature=signature)
            signature = None
        counted = self._usage or Usage()
        reason = _REASONS.get(self._reason, "stop")
        yield Finish(reason, counted.prompt_tokens, counted.completion_tokens)

    def _read(self, data):
        try:
            event = self.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            raise nonsense(exc, data) from None
        if event.error and bytes(event.error) not in _NO_ERROR:
            raise of_event(event.error)
        return event

    def _thought_in(self, said):
        """An empty thought is one as well, to those who want it back."""
        if self._signs_calls and said.reasoning_content is not None:
            self._thoughts = self._thoughts or []
            self._thoughts.append(said.reasoning_content)
        return said.reasoning_content or said.reasoning

    def _add_calls(self, parts):
        """A call comes in parts: first its name, then its arguments bit by bit."""
        for place, part in enumerate(parts):
            index = getattr(part, "index", None)
            number = place if index is None else index
            call = self._calls.setdefault(number, {"id": "", "name": "", "arguments": ""})
            call["id"] = part.id or call["id"]
            call["name"] += part.function.name or ""
            call["arguments"] += part.function.arguments or ""


class EventReader(Reader):
    """Cuts a stream into events."""

    def __init__(self, signs_calls=False):
        super().__init__(signs_calls)
        self._rest = b""

    def feed(self, data):
        """What these bytes say: text that stands together comes as one."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        pieces, text = [], []
        for line in lines:
            if not line.startswith(b"data:"):
                continue  # an empty line, a comment, a field that we do not need
            if line.startswith(_DONE):
                self.complete = True
                break
            try:
                self._take(self._read(line[5:]), pieces, text)
            except ProviderError as error:
                return self._broken(pieces, text, error)
        if text:
            pieces.append("".join(text))
        return pieces

    def end(self):
        if not self.complete and self._reason is None:
            raise cut_stream()
        return super().end()

    def _take(self, event, pieces, text):
        if event.usage is not None:
            self._usage = event.usage
        for choice in event.choices:
            if choice.index != 0:
                continue
            if choice.finish_reason is not None:
                self._reason = choice.finish_reason
            said = choice.delta
            if said.content or choice.text:
                text.append(said.content or choice.text)
            if said.refusal:
                text.append(said.refusal)
            if thought := self._thought_in(said):
                pieces += ["".join(text), Reasoning(thought)]
                text.clear()
            if said.tool_calls:
                self._add_calls(said.tool_calls)

    def _broken(self, pieces, text, error):
        """What was said before it went wrong was said."""
        yield from pieces
        yield "".join(text)
        raise error


class CompletionReader(Reader):
    """Reads an answer that comes whole."""

    def __init__(self, signs_calls=False):
        super().__init__(signs_calls)
        self._data = []

    def feed(self, data):
        self._data.append(data)
        return ()

    def end(self):
        event = self._read(b"".join(self._data))
        self._usage = event.usage
        for choice in event.choices:
            if choice.index == 0:
                yield from self._said(choice)
        yield from super().end()

    def _said(self, choice):
        said = choice.message
        self._reason = choice.finish_reason
        self._add_calls(said.tool_calls or [])
        if thought := self._thought_in(said):
            yield Reasoning(thought)
        yield (said.content or choice.text or "") + (said.refusal or "")
