"""Requests and answers in the words of llama.cpp's server, which are OpenAI's with more."""

from __future__ import annotations

import re
from typing import Any, Iterator

from llamacpp_errors import too_long
from llamacpp_messages import grammar_schema
from waifu_provider import Finish, ProviderError, Reasoning, Request, ToolCall

_CODES = {
    "exceed_context_size_error": "CONTEXT_TOO_LONG",
    "invalid_request_error": "INVALID_PROMPT",
    "not_supported_error": "UNSUPPORTED",
    "unavailable_error": "UNAVAILABLE",
}
_TEMPLATE = re.compile(r"jinja|template|\brole", re.IGNORECASE)


def body_of(request: Request) -> dict[str, Any]:
    """Without messages or prompt. It tells how far the prompt is read: only then it can be told to
    stop."""
    penalties = request.penalties or {}
    body = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "max_tokens": request.max_output_length,
        "stop": request.stop_tokens,
        "tools": request.tools,
        "presence_penalty": penalties.get("presence"),
        "frequency_penalty": penalties.get("frequency"),
        "repeat_penalty": penalties.get("repetition"),
        **_format(request),
        **(request.extra or {}),
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
    }
    return {name: value for name, value in body.items() if value is not None}


def _format(request: Request) -> dict[str, Any]:
    """Where there are no messages it goes by another name."""
    schema = grammar_schema(request.response_format)
    if request.prompt is not None:
        return {"json_schema": schema}
    return {"response_format": request.response_format}


class Events:
    """Puts together what the server says of one answer."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[str, str]] = {}
        self._reason = "stop"
        self._usage: dict[str, Any] = {}

    def take(self, event: dict[str, Any]) -> Iterator[Any]:
        """
        Raises:
            ProviderError: When it says what went wrong.
        """
        if error := event.get("error"):
            raise error_of(error)
        self._usage = event.get("usage") or self._usage
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or {}
            if thought := delta.get("reasoning_content"):
                yield Reasoning(thought)
            if text := delta.get("content") or choice.get("text"):
                yield text
            for call in delta.get("tool_calls") or ():
                self._add(call)
            self._reason = choice.get("finish_reason") or self._reason

    def end(self) -> Iterator[Any]:
        for call in self._calls.values():
            yield ToolCall(call["id"], call["name"], call["arguments"])
        count = self._usage.get
        yield Finish(self._reason, count("prompt_tokens"), count("completion_tokens"))

    def _add(self, piece: dict[str, Any]) -> None:
        blank = {"id": "", "name": "", "arguments": ""}
        call = self._calls.setdefault(piece.get("index", 0), blank)
        function = piece.get("function") or {}
        call["id"] = piece.get("id") or call["id"]
        call["name"] = function.get("name") or call["name"]
        call["arguments"] += function.get("arguments") or ""


def error_of(error: dict[str, Any]) -> ProviderError:
    message, kind = str(error.get("message", "")), error.get("type")
    if kind == "exceed_context_size_error":
        return too_long(error.get("n_prompt_tokens", 0), error.get("n_ctx", 0))
    if "too large to process" in message:
        text = f"The text is too long for an embedding. llama.cpp said: {message}"
        return ProviderError("CONTEXT_TOO_LONG", text)
    otherwise = "INVALID_PROMPT" if _TEMPLATE.search(message) else "UNEXPECTED"
    return ProviderError(_CODES.get(str(kind), otherwise), f"llama.cpp said: {message}")


def is_of_the_template(error: ProviderError) -> bool:
    return bool(_TEMPLATE.search(error.message))
