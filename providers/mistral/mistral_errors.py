"""What goes wrong at the vendor, in the words of our protocol."""

from __future__ import annotations

import json
import re

from waifu_http import code_of_status, refuses_tools, wait_ms
from waifu_provider import ProviderError

_BY_TYPE = {
    "invalid_model": "INVALID_MODEL",
    "rate_limited": "RATE_LIMITED",
    "service_tier_capacity_exceeded": "UNAVAILABLE",
    "insufficient_quota": "QUOTA_EXCEEDED",
}
_BY_MESSAGE = [
    (re.compile(r"too large for model|maximum context length", re.I), "CONTEXT_TOO_LONG"),
    (re.compile(r"invalid model", re.I), "INVALID_MODEL"),
    (re.compile(r"content (filter|moderation)|guardrail", re.I), "CONTENT_FILTERED"),
]
_SHOWN = 200


def of_refusal(status, headers, body):
    """An answer with any status but 200."""
    error = _object(body)
    message = _message_of(error) or f"HTTP {status}: {body[:_SHOWN]}"
    code = _code_of(error, message) or code_of_status(status)
    return ProviderError(code, message, wait_ms(headers) if code == "RATE_LIMITED" else None)


def of_event(error):
    """An `error` inside a stream, whatever its shape."""
    error = error if isinstance(error, dict) else {"message": str(error)}
    message = _message_of(error) or json.dumps(error)
    return ProviderError(
        _code_of(error, message) or "UNAVAILABLE", f"The server broke off: {message}"
    )


def of_failure():
    return ProviderError("UNAVAILABLE", "The model failed in the middle. Try again.")


def _object(body):
    try:
        error = json.loads(body)
    except ValueError:
        return {}
    return error if isinstance(error, dict) else {}


def _message_of(error):
    """`message` is a text or holds `detail`, which is a text or a list of complaints."""
    said = error.get("message") or error.get("detail")
    if isinstance(said, dict):
        said = said.get("detail")
    if isinstance(said, list):
        return "; ".join(str(each.get("msg", each)) for each in said if isinstance(each, dict))
    return said


def _code_of(error, message):
    for pattern, code in _BY_MESSAGE:
        if pattern.search(message):
            return code
    return "UNSUPPORTED" if refuses_tools(message) else _BY_TYPE.get(error.get("type"))
