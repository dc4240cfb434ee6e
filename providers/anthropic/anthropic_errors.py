"""What goes wrong at the vendor, in the words of our protocol."""

from __future__ import annotations

import re

import anthropic
from waifu_http import code_of_status, no_connection, refuses_tools, wait_ms
from waifu_provider import ProviderError

_BY_TYPE = {
    "authentication_error": "AUTHORIZATION",
    "permission_error": "AUTHORIZATION",
    "billing_error": "QUOTA_EXCEEDED",
    "rate_limit_error": "RATE_LIMITED",
    "not_found_error": "INVALID_MODEL",
    "request_too_large": "CONTEXT_TOO_LONG",
    "overloaded_error": "UNAVAILABLE",
    "timeout_error": "UNAVAILABLE",
    "api_error": "UNAVAILABLE",
}
_BY_MESSAGE = [  # of an `invalid_request_error`, which is everything else
    (re.compile(r"prompt is too long|context (window|limit|length)", re.I), "CONTEXT_TOO_LONG"),
    (re.compile(r"credit balance", re.I), "QUOTA_EXCEEDED"),
    (re.compile(r"content filter", re.I), "CONTENT_FILTERED"),
]
_SHOWN = 200


def as_provider_error(error):
    """An exception of the SDK."""
    if isinstance(error, anthropic.APIConnectionError):
        return no_connection(error)
    if not isinstance(error, anthropic.APIStatusError):
        return ProviderError("UNEXPECTED", error.message)
    message = error.api_message or f"HTTP {error.status_code}: {error.response.text[:_SHOWN]}"
    code = _code_of(error.type, message) or code_of_status(error.status_code)
    waits = wait_ms(error.response.headers) if code == "RATE_LIMITED" else None
    return ProviderError(code, message, waits)


def of_event(error):
    """An `error` inside a stream."""
    code = _code_of(error.type, error.message) or "UNAVAILABLE"
    return ProviderError(code, f"The server broke off: {error.message}")


def of_refusal(details):
    """The model declined before it said a word."""
    why = (details and details.explanation) or "Say it differently, or ask another model."
    return ProviderError("CONTENT_FILTERED", f"The model declines to answer. {why}")


def _code_of(kind, message):
    for pattern, code in _BY_MESSAGE:
        if pattern.search(message):
            return code
    return "UNSUPPORTED" if refuses_tools(message) else _BY_TYPE.get(kind)
