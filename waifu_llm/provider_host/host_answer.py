"""One generation on its way to the wire: filtered, counted, and written as lines of ASCII."""

from __future__ import annotations

import json
from typing import Any

from host_stdio import LineWriter
from host_text import StopFilter, ThinkFilter
from waifu_provider import Finish, Reasoning, Request, ToolCall

_string = json.encoder.encode_basestring_ascii


class Answer:
    """What one generation yields, until its end."""

    def __init__(self, number: int, writer: LineWriter, request: Request) -> None:
        self._number = number
        self._writer = writer
        self._think = ThinkFilter()
        self._stop = StopFilter(request.stop_tokens) if request.stop_tokens else None
        self._finish = Finish()
        self._calls: list[ToolCall] = []
        self.count = 0

    @property
    def stopped(self) -> bool:
        return self._stop is not None and self._stop.stopped

    def take(self, piece: Any) -> None:
        self.count += 1
        if isinstance(piece, str):
            self._split(*self._think.feed(piece))
        elif isinstance(piece, Reasoning):
            self._line("reasoning", piece.text)
        elif isinstance(piece, ToolCall):
            self._calls.append(piece)
        elif isinstance(piece, Finish):
            self._finish = piece
        else:
            raise TypeError(f"a provider yields text or events, not {type(piece).__name__}")

    def end(self) -> dict[str, Any]:
        """Give out what was held back, and say how it ended."""
        if not self.stopped:
            self._split(*self._think.rest())
        if self._stop is not None:
            self._line("chunk", self._stop.rest())
        reason = "stop" if self.stopped else self._finish.reason
        done: dict[str, Any] = {"finish_reason": reason}
        if self._finish.input_tokens is not None or self._finish.output_tokens is not None:
            done["usage"] = {
                "input_tokens": self._finish.input_tokens or 0,
                "output_tokens": self._finish.output_tokens or 0,
            }
        if self._calls:
            done["tool_calls"] = [_without_none(vars(call)) for call in self._calls]
        return done

    def _split(self, said: str, thought: str) -> None:
        if thought:
            self._line("reasoning", thought)
        if said:
            self._line("chunk", self._stop.feed(said) if self._stop else said)

    def _line(self, field: str, text: str) -> None:
        if text:
            self._writer.send(f'{{"id":{self._number},"{field}":{_json_string(text)}}}\n')


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _json_string(text: str) -> str:
    """Half of a surrogate pair, of an emoji cut in two, is no JSON to most readers."""
    encoded = _string(text)
    return _string(_without_halves(text)) if "\\ud" in encoded else encoded


def as_json(value: Any) -> str:
    encoded = json.dumps(value)
    if "\\ud" not in encoded:
        return encoded
    return json.dumps(json.loads(_without_halves(json.dumps(value, ensure_ascii=False))))


def _without_halves(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
