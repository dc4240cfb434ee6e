"""What goes wrong at the server, in the words of our protocol."""

from __future__ import annotations

import json
import re

import httpx
from waifu_http import code_of_status, wait_ms
from waifu_provider import ProviderError

_BY_WORDS = (
    (r"(out of|more|not enough|insufficient) ([a-z]+ )?memory", "OUT_OF_MEMORY"),
    (r"failed to allocate|allocation failed|malloc failed", "OUT_OF_MEMORY"),
    (r"context (length|window|size)|available context", "CONTEXT_TOO_LONG"),
    (r"usage limit|upgrade (your|for)|subscription", "QUOTA_EXCEEDED"),
    (r"does not support", "UNSUPPORTED"),
    (r"invalid model name|file does not exist|model .*not found", "INVALID_MODEL"),
    (r"unauthorized", "AUTHORIZATION"),
)
_ADVICE = {
    "AUTHORIZATION": " Sign in with `ollama signin`, or give a key that is valid.",
    "OUT_OF_MEMORY": " Take a smaller model, or a smaller `num_ctx`.",
}
_SHOWN = 200


def of_refusal(response, model_id):
    """An answer, read to its end, that is none."""
    message = _message_of(response)
    code = _code_of(message) or code_of_status(response.status_code)
    if response.status_code == 404 and code == "INVALID_MODEL" and model_id:
        return no_model(model_id)
    advice = _ADVICE.get(code, "")
    waits = wait_ms(response.headers) if code == "RATE_LIMITED" else None
    return ProviderError(code, f"Ollama refuses: {message.rstrip('.')}.{advice}", waits)


def no_model(model_id):
    return ProviderError(
        "INVALID_MODEL", f"Ollama has no model `{model_id}`. Pull it: `ollama pull {model_id}`."
    )


def lacks(model_id, what):
    return ProviderError("UNSUPPORTED", f"The model `{model_id}` {what}. Ask one that can.")


def of_line(message):
    """An `error` inside a stream whose status was 200."""
    return ProviderError(_code_of(message) or "UNAVAILABLE", f"Ollama broke off: {message}")


def of_connection(error, address):
    """An exception of the connection, before any answer."""
    if isinstance(error, httpx.TimeoutException):
        return ProviderError("TIMEOUT", f"{address} did not take the connection in time.")
    return ProviderError(
        "UNAVAILABLE",
        f"Ollama does not answer at {address}. Start it, with its app or `ollama serve`, or name "
        "its address as `base_url`.",
    )


def _code_of(message):
    for words, code in _BY_WORDS:
        if re.search(words, message, re.I):
            return code
    return None


def _message_of(response):
    try:
        return str(json.loads(response.text)["error"])
    except (ValueError, TypeError, KeyError):
        return f"HTTP {response.status_code}: {response.text[:_SHOWN]}"
