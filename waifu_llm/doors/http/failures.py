"""What went wrong, in the words of those who asked: a status, and a body in their API's shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec

from waifu_llm import errors
from waifu_llm.doors.http.messages import Answer
from waifu_llm.errors import WaifuError

_encode = msgspec.json.Encoder().encode


class NotAllowed(errors.InvalidMessage):
    """There is something at that path, and not with that method."""


class TooLarge(errors.InvalidMessage):
    """A body beyond what is taken."""


class Uncoded(errors.InvalidMessage):
    """A body that something was done to which is not undone here."""


class WrongKind(errors.InvalidMessage):
    """A body of another media type."""


class NoToken(errors.Forbidden):
    """It needs the token, and came without, or with another."""


class Misdirected(errors.Forbidden):
    """It was meant for another host."""


STATUS: dict[type[WaifuError], int] = {
    errors.Unexpected: 500,
    errors.Authorization: 401,
    errors.InvalidPrompt: 400,
    errors.InvalidProvider: 404,
    errors.InvalidModel: 404,
    errors.Timeout: 504,
    errors.Interrupted: 499,  # no client tries it again
    errors.NotLoaded: 503,
    errors.InvalidMessage: 400,
    errors.RateLimited: 429,
    errors.Overloaded: 503,
    errors.ProviderCrashed: 502,
    errors.InstallFailed: 503,
    errors.NotInstalled: 404,
    errors.Unavailable: 503,
    errors.ContextTooLong: 400,
    errors.ContentFiltered: 400,
    errors.QuotaExceeded: 429,
    errors.OutOfMemory: 503,
    errors.Unsupported: 400,
    errors.Forbidden: 403,
    errors.Busy: 503,
    errors.NotFound: 404,
    NotAllowed: 405,
    TooLarge: 413,
    WrongKind: 415,
    Uncoded: 501,
    NoToken: 401,
    Misdirected: 421,
}
"""By the class of the error, or the nearest one that it comes from."""

Shape = Callable[[WaifuError], Any]
"""Makes a body of an error."""


def status_of(error: WaifuError) -> int:
    """What a room has said itself comes before what is usual."""
    own: int | None = getattr(error, "http_status", None)
    return own or next(
        STATUS[kind] for kind in (*type(error).__mro__, errors.Unexpected) if kind in STATUS
    )


def failure(error: WaifuError, shape: Shape, status: int | None = None) -> Answer:
    """What is answered in the place of what was asked for."""
    headers: dict[str, str] = {}
    if error.retry_after_ms is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after_ms / 1000))
        headers["retry-after-ms"] = str(error.retry_after_ms)
    if not error.retryable:
        headers["x-should-retry"] = "false"  # as OpenAI's clients are told
    if isinstance(error, NoToken):
        headers["www-authenticate"] = "Bearer"
    return Answer(status or status_of(error), _encode(shape(error)), headers=headers)


class Failed(msgspec.Struct, omit_defaults=True):
    """An error of the module's own routes."""

    detail: str
    """What went wrong, and what to do."""
    error: str
    """Its code, as in the module's protocol."""
    retryable: bool = False
    retry_after_ms: int | None = None


def OURS(error: WaifuError) -> Failed:
    return Failed(error.message, error.code, error.retryable, error.retry_after_ms)


_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    499: "interrupted",
    504: "timeout",
}
_OPENAI_CODES = {
    "INVALID_MODEL": "model_not_found",
    "INVALID_PROVIDER": "model_not_found",
    "CONTEXT_TOO_LONG": "context_length_exceeded",
    "CONTENT_FILTERED": "content_filter",
    "QUOTA_EXCEEDED": "insufficient_quota",
    "RATE_LIMITED": "rate_limit_exceeded",
}


class OpenAIError(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIFailed(msgspec.Struct):
    """An error as OpenAI's API has it."""

    error: OpenAIError


def OPENAI(error: WaifuError) -> OpenAIFailed:
    kind = "invalid_api_key" if isinstance(error, NoToken) else _OPENAI_CODES.get(error.code)
    status = status_of(error)
    usual = "server_error" if status >= 500 else "invalid_request_error"
    of_type = _OPENAI_TYPES.get(status, usual)
    if kind == "insufficient_quota":
        of_type = kind
    return OpenAIFailed(OpenAIError(error.message, of_type, None, kind or error.code.lower()))


class OllamaFailed(msgspec.Struct):
    """An error as Ollama has it."""

    error: str


def OLLAMA(error: WaifuError) -> OllamaFailed:
    return OllamaFailed(error.message)
