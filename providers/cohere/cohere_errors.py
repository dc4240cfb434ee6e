"""What goes wrong at the vendor, in the words of our protocol."""

from __future__ import annotations

import json
import re

from waifu_http import code_of_status, refuses_tools, wait_ms
from waifu_provider import ProviderError

_BY_STATUS = {498: "CONTENT_FILTERED", 499: "UNAVAILABLE"}
_BY_MESSAGE = [
    (re.compile(r"too many tokens|context (length|window)|too long", re.I), "CONTEXT_TOO_LONG"),
    (re.compile(r"model '.*' (not found|was removed)|unknown model", re.I), "INVALID_MODEL"),
    (re.compile(r"trial (token|key).* limited to .* month", re.I), "QUOTA_EXCEEDED"),
    (re.compile(r"blocked|content filter", re.I), "CONTENT_FILTERED"),
    (re.compile(r"rate limit|too many requests", re.I), "RATE_LIMITED"),
]
_SHOWN = 200


def of_refusal(status, headers, body):
    """An answer with any status but 200."""
    message = _message_of(body) or f"HTTP {status}: {_text_of(body)[:_SHOWN]}"
    code = _code_of(message) or _BY_STATUS.get(status) or code_of_status(status)
    waits = wait_ms(headers or {}) if code == "RATE_LIMITED" else None
    return ProviderError(code, message, waits)


def of_event(message):
    """The answer ended in an error."""
    message = message or "It says no more."
    return ProviderError(_code_of(message) or "UNAVAILABLE", f"The server broke off: {message}")


def of_silence():
    return ProviderError(
        "CONTENT_FILTERED", "Cohere blocks this. Say it differently, or ask another model."
    )


def _message_of(body):
    """The SDK gives what it could read; a stream's answer is bytes."""
    try:
        said = body if isinstance(body, dict) else json.loads(body)
    except (TypeError, ValueError):
        return None
    return str(said["message"]) if isinstance(said, dict) and said.get("message") else None


def _text_of(body):
    return body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)


def _code_of(message):
    if refuses_tools(message):
        return "UNSUPPORTED"
    return next((code for pattern, code in _BY_MESSAGE if pattern.search(message)), None)
