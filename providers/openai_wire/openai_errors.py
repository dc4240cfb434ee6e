"""What goes wrong at a server, in the words of our protocol. No SDK is needed here."""

from __future__ import annotations

import json
import re

import waifu_http
from waifu_http import code_of_status, refuses_tools
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
    424: "UNAVAILABLE",
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
    code = code or _BY_STATUS.get(status) or code_of_status(status)
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


def of_event(raw):
    """An `error` inside a stream or an answer, whatever its shape."""
    error = json.loads(bytes(raw))
    return of_break(error if isinstance(error, dict) else {"message": str(error)})


def of_break(told):
    """What an event tells of its error."""
    message = _message_in(told) or str(told)
    code = code_told(told, message) or _code_in(told) or "UNAVAILABLE"
    return ProviderError(code, f"The server broke off: {message}")


def code_told(told, message):
    if refuses_tools(message):  # whatever code they put there
        return "UNSUPPORTED"
    for each in (told.get("code"), told.get("type")):
        if isinstance(each, str) and each in _BY_CODE:
            return _BY_CODE[each]
    return "CONTEXT_TOO_LONG" if _TOO_LONG.search(message) else None


def _code_in(told):
    """Some put a status there."""
    status = told.get("code")
    return code_of_status(status) if isinstance(status, int) else None


def _message_in(told):
    said = (told.get(name) for name in ("message", "detail"))
    return next((each for each in said if isinstance(each, str) and each), "")


def wait_ms(headers):
    """How long to wait, from whichever header says it."""
    try:
        if "retry-after-ms" in headers:
            return round(float(headers["retry-after-ms"]))
        if "retry-after" in headers:
            return waifu_http.wait_ms(headers)
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


_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def _duration(text):
    """`6m0s`, `1.5s`, `20ms`"""
    parts = re.findall(r"([\d.]+)(ms|[smhd])", text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
