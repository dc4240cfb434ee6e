"""What goes wrong at the vendor, in the words of our protocol."""

from __future__ import annotations

import asyncio
import json
import re
import time
from email.utils import parsedate_to_datetime

import openai
from waifu_provider import ProviderError

_BY_CODE = {
    "invalid_api_key": "AUTHORIZATION",
    "account_deactivated": "AUTHORIZATION",
    "insufficient_quota": "QUOTA_EXCEEDED",
    "billing_hard_limit_reached": "QUOTA_EXCEEDED",
    "billing_not_active": "QUOTA_EXCEEDED",
    "rate_limit_exceeded": "RATE_LIMITED",
    "context_length_exceeded": "CONTEXT_TOO_LONG",
    "string_above_max_length": "CONTEXT_TOO_LONG",
    "content_filter": "CONTENT_FILTERED",
    "content_policy_violation": "CONTENT_FILTERED",
    "model_not_found": "INVALID_MODEL",
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
    429: "RATE_LIMITED",
}
_TOO_LONG = re.compile(r"context (length|window|size)|too many tokens|maximum context", re.I)
_SHOWN = 200


def as_provider_error(error):
    """An exception of the SDK."""
    if isinstance(error, openai.APIConnectionError):
        if timed_out(error):
            return ProviderError("TIMEOUT", "The server did not take the connection in time.")
        return ProviderError("UNAVAILABLE", f"The server cannot be reached: {_root(error)}.")
    if not isinstance(error, openai.APIStatusError):
        return ProviderError("UNEXPECTED", error.message)
    message = _message_of(error)
    code = _code_of(error.code, error.type, message) or _BY_STATUS.get(error.status_code)
    code = code or ("UNAVAILABLE" if error.status_code >= 500 else "UNEXPECTED")
    waits = _wait_ms(error.response.headers) if code == "RATE_LIMITED" else None
    return ProviderError(code, message, waits)


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
    if not isinstance(error, dict):
        return ProviderError("UNAVAILABLE", f"The server broke off: {error}.")
    message = str(error.get("message") or error)
    status = error.get("code") if isinstance(error.get("code"), int) else None
    code = _code_of(error.get("code"), error.get("type"), message) or _BY_STATUS.get(status)
    return ProviderError(code or "UNAVAILABLE", f"The server broke off: {message}")


def of_broken_connection(error):
    return ProviderError("UNAVAILABLE", f"The connection broke in the middle: {error!r}.")


def of_cut_stream():
    return ProviderError("UNAVAILABLE", "The server ended the answer in the middle.")


def of_nonsense(error, data):
    shown = bytes(data[:_SHOWN]).decode("utf-8", "replace")
    return ProviderError("UNEXPECTED", f"The server answered nonsense ({error}): {shown}")


def _code_of(code, kind, message):
    for each in (code, kind):
        if isinstance(each, str) and each in _BY_CODE:
            return _BY_CODE[each]
    return "CONTEXT_TOO_LONG" if _TOO_LONG.search(message) else None


def _message_of(error):
    body = error.body
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return body["message"]
    return f"HTTP {error.status_code}: {error.response.text[:_SHOWN]}"


def _wait_ms(headers):
    """How long to wait, from whichever header says it."""
    try:
        if "retry-after-ms" in headers:
            return round(float(headers["retry-after-ms"]))
        if "retry-after" in headers:
            return round(1000 * _seconds(headers["retry-after"]))
        resets = (headers.get(f"x-ratelimit-reset-{what}") for what in ("requests", "tokens"))
        return max((round(1000 * _duration(each)) for each in resets if each), default=None)
    except ValueError:
        return None


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
