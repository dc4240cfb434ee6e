"""Our answers in the words of Ollama's API: whole ones, and the lines of streams."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET

from waifu_llm.doors.http.failures import OLLAMA
from waifu_llm.doors.http.ollama import (
    CalledFunction,
    ChatResponse,
    GenerateResponse,
    Said,
    SaidCall,
)
from waifu_llm.doors.http.streams import Kind
from waifu_llm.errors import WaifuError
from waifu_llm.generation import Final

_encode = msgspec.json.Encoder().encode
_REASONS = {"tool_calls": "stop", "content_filter": "stop"}
_NANOSECONDS = 1_000_000
"""In a millisecond."""


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def chat_response(model: str, final: Final) -> ChatResponse:
    said = Said("assistant", final.response, final.reasoning or UNSET, _calls(final) or UNSET)
    return ChatResponse(
        model=model,
        created_at=now(),
        message=said,
        done=True,
        done_reason=_reason(final),
        **_counted(final),
    )


def generate_response(model: str, final: Final) -> GenerateResponse:
    return GenerateResponse(
        model=model,
        created_at=now(),
        response=final.response,
        thinking=final.reasoning or UNSET,
        tool_calls=_calls(final) or UNSET,
        done=True,
        done_reason=_reason(final),
        **_counted(final),
    )


def nothing_but(reason: str, model: str) -> ChatResponse:
    """To who asks for no answer, but that a model be loaded, or not be any more."""
    said = Said("assistant", "")
    return ChatResponse(model=model, created_at=now(), message=said, done=True, done_reason=reason)


def nothing_generated_but(reason: str, model: str) -> GenerateResponse:
    """The same, of /api/generate."""
    at = now()
    return GenerateResponse(model=model, created_at=at, response="", done=True, done_reason=reason)


def _reason(final: Final) -> str:
    return _REASONS.get(final.finish_reason, final.finish_reason)


def _calls(final: Final) -> list[SaidCall]:
    return [
        SaidCall(CalledFunction(each.name, _arguments(each.arguments)), each.id)
        for each in final.tool_calls or ()
    ]


def _arguments(text: str) -> dict[str, Any]:
    """Here they are an object. What a model wrote that is none stands under a name of its own."""
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError):
        return {"arguments": text}


def _counted(final: Final) -> dict[str, int]:
    timing, usage = final.timing, final.usage
    first = timing.first_token_ms if timing.first_token_ms is not None else timing.total_ms
    counted = {
        "total_duration": _ns(timing.total_ms),
        "load_duration": _ns(timing.queued_ms),
        "prompt_eval_duration": _ns(max(0.0, first - timing.queued_ms)),
        "eval_duration": _ns(timing.total_ms - first),
    }
    if usage:
        counted["prompt_eval_count"] = usage.input_tokens
        counted["eval_count"] = usage.output_tokens
    return counted


def _ns(milliseconds: float) -> int:
    return round(milliseconds * _NANOSECONDS)


# Some clients read lines as people do: to them these end one too.
_ENDS = tuple((sign.encode(), f"\\u{ord(sign):04x}".encode()) for sign in "\u0085\u2028\u2029")


def _line_of(what: Any) -> bytes:
    """As JSON that is one line to everybody."""
    data = _encode(what)
    for sign, escaped in _ENDS:
        data = data.replace(sign, escaped)
    return data


class Lines:
    """The words of a stream: a line for each object."""

    media_type = "application/x-ndjson"
    sign_of_life = b""

    def __init__(self, model: str, tells_thoughts: bool) -> None:
        self.tells_thoughts = tells_thoughts
        self._model = model
        self._frames: dict[Kind, tuple[bytes, bytes]] = {
            "speech": self._frame("speech"),
            "thought": self._frame("thought"),
        }

    def _frame(self, kind: Kind) -> tuple[bytes, bytes]:
        """A line in two parts, for the text between them. The time in it is that of the stream's
        beginning: it is the same moment to everybody who reads these."""
        before = b'"thinking":' if kind == "thought" else self._before
        line = _line_of(self._line(kind))
        head, found, tail = line.partition(before + b'""')
        assert found
        return head + before, tail + b"\n"

    _before = b'"content":'

    def _line(self, kind: Kind) -> Any:
        thinking = "" if kind == "thought" else UNSET
        said = Said("assistant", "", thinking)
        return ChatResponse(model=self._model, created_at=now(), message=said, done=False)

    def opening(self) -> bytes:
        return b""

    def piece(self, kind: Kind, text: str) -> bytes:
        head, tail = self._frames[kind]
        return b"%b%b%b" % (head, _line_of(text), tail)

    def closing(self, final: Final) -> bytes:
        """The text was said; what stands in the last line is what is new there."""
        rest = msgspec.structs.replace(final, response="", reasoning=None)
        return _line_of(self._whole(rest)) + b"\n"

    def _whole(self, final: Final) -> Any:
        return chat_response(self._model, final)

    def failure(self, error: WaifuError) -> bytes:
        return _line_of(OLLAMA(error)) + b"\n"


class GenerateLines(Lines):
    """Those of /api/generate."""

    _before = b'"response":'

    def _line(self, kind: Kind) -> Any:
        thinking = "" if kind == "thought" else UNSET
        model, at = self._model, now()
        return GenerateResponse(
            model=model, created_at=at, response="", thinking=thinking, done=False
        )

    def _whole(self, final: Final) -> Any:
        return generate_response(self._model, final)
