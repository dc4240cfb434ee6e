"""LiteLLM's exceptions in the words of our protocol."""

from __future__ import annotations

import re

import litellm
from openai_errors import code_of_status, code_told, told_by, wait_ms
from waifu_provider import ProviderError

_BY_KIND = [
    (litellm.ContextWindowExceededError, "CONTEXT_TOO_LONG"),
    (litellm.ContentPolicyViolationError, "CONTENT_FILTERED"),
    (litellm.UnsupportedParamsError, "UNSUPPORTED"),
    (litellm.Timeout, "TIMEOUT"),
    (litellm.APIConnectionError, "UNAVAILABLE"),
]
_ITS_OWN_WORDS = re.compile(r"^((litellm\.)?\w+: )+(\w+Exception - )?")
_ADVICE = re.compile(r"\.? To drop these, set .*", re.DOTALL)
_QUOTA = re.compile(r"insufficient_quota|exceeded your current quota|insufficient balance", re.I)


def as_provider_error(error):
    message = _ADVICE.sub(".", _ITS_OWN_WORDS.sub("", str(getattr(error, "message", error))))
    code = _code_of(error, message)
    return ProviderError(code, message, _wait_of(error) if code == "RATE_LIMITED" else None)


def known_vendor(model_id):
    """Which of its vendors a model names.

    Raises:
        ProviderError: INVALID_MODEL, when none.
    """
    try:
        litellm.get_llm_provider(model_id)
    except litellm.BadRequestError:
        raise ProviderError(
            "INVALID_MODEL", f"`{model_id}` names no vendor: a model is named `vendor/model` here."
        ) from None


def _code_of(error, message):
    if _QUOTA.search(message):
        return "QUOTA_EXCEEDED"
    for kind, code in _BY_KIND:
        if isinstance(error, kind):
            return code
    told = told_by(getattr(error, "body", None))
    status = getattr(error, "status_code", None)
    return code_told(told, message) or code_of_status(status) or "UNEXPECTED"


def _wait_of(error):
    return wait_ms(getattr(error, "litellm_response_headers", None) or {})
