"""What goes wrong at the vendor, in the words of our protocol."""

from __future__ import annotations

import re

from waifu_http import code_of_status, refuses_tools, wait_ms
from waifu_provider import ProviderError

_BY_STATUS = {
    "UNAUTHENTICATED": "AUTHORIZATION",
    "PERMISSION_DENIED": "AUTHORIZATION",
    "FAILED_PRECONDITION": "AUTHORIZATION",  # the account may not, from there or without billing
    "NOT_FOUND": "INVALID_MODEL",
    "INVALID_ARGUMENT": "INVALID_PROMPT",
    "RESOURCE_EXHAUSTED": "RATE_LIMITED",
    "DEADLINE_EXCEEDED": "UNAVAILABLE",
    "INTERNAL": "UNAVAILABLE",
    "UNAVAILABLE": "UNAVAILABLE",
}
_BY_MESSAGE = [
    (re.compile(r"api[ _]key (not valid|expired|not found)", re.I), "AUTHORIZATION"),
    (re.compile(r"exceeds the maximum number of tokens|token count", re.I), "CONTEXT_TOO_LONG"),
    (re.compile(r"credits? (are|is|has been) (depleted|exhausted)", re.I), "QUOTA_EXCEEDED"),
]
_SHOWN = 200


def as_provider_error(error):
    """An exception of the SDK."""
    details = error.details.get("error") if isinstance(error.details, dict) else None
    if not isinstance(details, dict):
        return ProviderError(code_of_status(error.code), _page_of(error))
    code = _code_of(details.get("status"), error.message or "") or code_of_status(error.code)
    waits = _wait_ms(error, details) if code == "RATE_LIMITED" else None
    return ProviderError(code, error.message or _page_of(error), waits)


def of_event(error):
    """An `error` inside a stream."""
    message = str(error.get("message"))
    code = _code_of(error.get("status"), message) or "UNAVAILABLE"
    return ProviderError(code, f"The server broke off: {message}")


def of_silence(reason, message=None):
    """It ended before a word was said, for the sake of the content or because it failed."""
    if reason == "MALFORMED_FUNCTION_CALL":
        return ProviderError("UNAVAILABLE", "The model made a call that is none. Try again.")
    why = message or "Say it differently, or ask another model."
    return ProviderError("CONTENT_FILTERED", f"Google blocks this ({reason}). {why}")


def _code_of(status, message):
    for pattern, code in _BY_MESSAGE:
        if pattern.search(message):
            return code
    return "UNSUPPORTED" if refuses_tools(message) else _BY_STATUS.get(status)


def _page_of(error):
    return f"HTTP {error.code}: {error.message or error.details}"[:_SHOWN]


def _wait_ms(error, details):
    """`retryDelay` of its details is a duration: `37s`."""
    for detail in details.get("details") or []:
        if match := re.fullmatch(r"([\d.]+)s", str(detail.get("retryDelay"))):
            return round(1000 * float(match[1]))
    return wait_ms(error.response.headers)
