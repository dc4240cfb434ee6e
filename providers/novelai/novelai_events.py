"""How a text goes on, piece by piece."""

from __future__ import annotations

import re
from typing import Optional

import msgspec
from msgspec import Struct
from novelai_text import speakers_in, tokens_in
from openai_errors import of_event
from waifu_http import cut_stream, nonsense
from waifu_provider import Finish

_END_OF_SCENE = "***"
_LAST_LINE = re.compile(r"\s*\n\s*([^\n]*)\Z")


class Event(Struct, gc=False):
    """One `data:` of the stream; without that word, what went wrong."""

    token: Optional[str] = None
    final: bool = False
    error: Optional[str] = None
    message: Optional[str] = None
    statusCode: Optional[int] = None


_decode = msgspec.json.Decoder(Event).decode


class Turn:
    """Ends a text where the next turn begins, however the pieces are cut."""

    def __init__(self, names):
        self._heads = (*(f"{name}:" for name in names), _END_OF_SCENE)
        self._next = re.compile(r"\s*\n\s*(?:" + "|".join(map(re.escape, self._heads)) + ")")
        self._held = "\n"
        self._begun = False
        self.over = False

    def feed(self, text):
        text = self._held + text
        if found := self._next.search(text):
            self.over, text, self._held = True, text[: found.start()], ""
        else:
            end = self._surely_said(text)
            text, self._held = text[:end], text[end:]
        return self._spoken(text)

    def rest(self):
        """What might have become a turn has not."""
        rest, self._held = self._held, ""
        return self._spoken(rest.rstrip())

    def _surely_said(self, text):
        last = _LAST_LINE.search(text)
        if last and any(head.startswith(last[1]) for head in self._heads):
            return last.start()
        return len(text)

    def _spoken(self, text):
        """Without the gap after the name."""
        text = text if self._begun else text.lstrip()
        self._begun = self._begun or bool(text)
        return text


class Whole:
    """Leaves a text as it is: nobody takes turns in a prompt."""

    over = False

    def feed(self, text):
        return text

    def rest(self):
        return ""


class Continuation:
    """Reads the answer to a request, of at most so many tokens."""

    def __init__(self, request, length):
        is_talk = request.prompt is None
        self._turn = Turn(speakers_in(request)) if is_talk else Whole()
        told = (each.get("content") or "" for each in request.messages)
        self._input_tokens = tokens_in(request.prompt or "\n".join(told))
        self._length = length
        self._tokens = 0
        self._rest = b""
        self.complete = False

    def feed(self, data):
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield from self._said(line)
            if self.complete:
                return

    def end(self):
        if not self.complete:
            yield from self._said(self._rest)
        if not self._tokens:
            raise cut_stream()
        yield self._turn.rest()
        is_cut = self._tokens >= self._length and not self._turn.over
        yield Finish("length" if is_cut else "stop", self._input_tokens, self._tokens)

    def _said(self, line):
        if not line.startswith((b"data:", b"{")):
            return  # an empty line, a comment, the name or the number of an event
        event = _read(line[5:] if line.startswith(b"data:") else line)
        if event.token:
            self._tokens += 1
            yield self._turn.feed(event.token)
        self.complete = event.final or self._turn.over


def _read(data):
    try:
        event = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise nonsense(exc, data) from None
    if event.token is None and (wrong := event.error or event.message):
        raise of_event(msgspec.json.encode({"message": wrong, "code": event.statusCode}))
    return event
