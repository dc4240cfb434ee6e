"""What goes wrong at a server, in the words of our protocol. No SDK is needed here."""

from __future__ import annotations

import asyncio
import json
import re
import time
from email.utils import parsedate_to_datetime

from waifu_provider import ProviderError

_BY_CODE = {
    "invalid_api_key": "AUTHORIZATION",
    "account_deactivated": "AUTHORIZATION",
    "insufficient_quota": "QUOTA_EXCEEDED",
    "billing_hard_limit_reached": "QUOTA_EXCEEDED",
    "billing_not_active": "QUOTA_EXCEEDED",
    "rate_limit_exceeded": "RATE_LIMITED",
    "context_length_exceeded": "CONTEXT_TOO_LONG",
    "exceed_context_size_error": "CONTEXT_TOO_LONG",
    "string_above_max_length": "CONTEXT_TOO_LONG",
    "content_filter": "CONTENT_FILTERED",
    "content_policy_violation": "CONTENT_FILTERED",
    "model_not_found": "INVALID_MODEL",
    "model_decommissioned": "INVALID_MODEL",
    "unsupported_parameter": "UNSUPPORTED",
    "unsupported_value": "UNSUPPORTED",
    "server_error": "UNAVAILABLE",
    "service_unavailable": "UNAVAILABLE",
    "overloaded": "UNAVAILABLE",
}
_BY_STATUS = {
    400: "INVALID_PROMPT",
    401: "AUTHORIZATION",
    402: "QUOTA_EXCEEDED",
    403: "AUTHORIZATION",
    404: "INVALID_MODEL",
    408: "TIMEOUT",
    413: "CONTEXT_TOO_LONG",
    422: "INVALID_PROMPT",
    424: "UNAVAILABLE",
    429: "RATE_LIMITED",
    498: "UNAVAILABLE",  # Groq has no room for it just now
    499: "UNAVAILABLE",  # Groq gave it up
}
_TOO_LONG = re.compile(r"context (length|window|size)|too many tokens|maximum context", re.I)
_SHOWN = 200


def of_refusal(error):
    """An answer that is none: an SDK's exception with a status."""
    status, told = error.status_code, told_by(error.body)
    message = _message_in(told) or f"HTTP {status}: {error.response.text[:_SHOWN]}"
    code = "CONTEXT_TOO_LONG" if status == 413 else code_told(told, message)
    code = code or code_of_status(status) or "UNEXPECTED"
    waits = wait_ms(error.response.headers) if code == "RATE_LIMITED" else None
    return ProviderError(code, message, waits)


def told_by(body):
    """What a body says of an error: `{"error": {…}}`, the inside of that, or a shape of its own."""
    if not isinstance(body, dict):
        return {}
    inner = body.get("error")
    if isinstance(inner, dict):
        return inner
    return {**body, "message": inner} if isinstance(inner, str) else body


def named_in(body):
    """Where a refusal names what it does not take."""
    told = told_by(body)
    return f"{told.get('param') or ''} {_message_in(told)}"


def of_no_connection(error):
    if timed_out(error):
        return ProviderError("TIMEOUT", "The server did not take the connection in time.")
    return ProviderError("UNAVAILABLE", f"The server cannot be reached: {_root(error)}.")


def timed_out(error):
    """The SDK's own name for it covers refused connections as well."""
    return isinstance(_root(error), (TimeoutError, asyncio.TimeoutError))


def _root(error):
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def of_event(raw):
    """An `error` inside a stream or an answer, whatever its shape."""
    error = json.loads(bytes(raw))
    return of_break(error if isinstance(error, dict) else {"message": str(error)})


def of_break(told):
    """What an event tells of its error."""
    message = _message_in(told) or str(told)
    status = told.get("code") if isinstance(told.get("code"), int) else None
    code = code_told(told, message) or code_of_status(status) or "UNAVAILABLE"
    return ProviderError(code, f"The server broke off: {message}")


def of_broken_connection(error):
    return ProviderError("UNAVAILABLE", f"The connection broke in the middle: {error!r}.")


def of_cut_stream():
    return ProviderError("UNAVAILABLE", "The server ended the answer in the middle.")


def of_nonsense(error, data):
    shown = bytes(data[:_SHOWN]).decode("utf-8", "replace")
    return ProviderError("UNEXPECTED", f"The server answered nonsense ({error}): {shown}")


def code_told(told, message):
    for each in (told.get("code"), told.get("type")):
        if isinstance(each, str) and each in _BY_CODE:
            return _BY_CODE[each]
    return "CONTEXT_TOO_LONG" if _TOO_LONG.search(message) else None


def code_of_status(status):
    if status is not None and status >= 500:
        return "UNAVAILABLE"
    return _BY_STATUS.get(status)


def _message_in(told):
    said = (told.get(name) for name in ("message", "detail"))
    return next((each for each in said if isinstance(each, str) and each), "")


def wait_ms(headers):
    """How long to wait, from whichever header says it."""
    try:
        if "retry-after-ms" in headers:
            return round(float(headers["retry-after-ms"]))
        if "retry-after" in headers:
            return round(1000 * _seconds(headers["retry-after"]))
        resets = [_duration(each) for each in _resets(headers)]
        return round(1000 * max(resets)) if resets else None
    except ValueError:
        return None


def _resets(headers):
    """Of the limits that were reached, where that is told: one may be for a whole day."""
    limits = ("requests", "tokens")
    reached = [name for name in limits if headers.get(f"x-ratelimit-remaining-{name}") == "0"]
    resets = (headers.get(f"x-ratelimit-reset-{name}") for name in reached or limits)
    return [each for each in resets if each]


def _seconds(text):
    """A number, or a date."""
    try:
        return float(text)
    except ValueError:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())


_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def _duration(text):
    """`6m0s`, `1.5s`, `20ms`"""
    parts = re.findall(r"([\d.]+)(ms|[smhd])", text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
