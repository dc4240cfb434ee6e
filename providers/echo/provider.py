"""A provider that needs no model, to build clients against: it says what it is told.

Models: `echo` says the last message again, or the prompt, a word a chunk; `count` counts to
`max_output_length`, a number a chunk. A vector tells how many characters and words a text has.
What it pulls is there already. With a `response_format` it says `{"said": …}`. `params.extra` takes

    delay_ms        between two chunks
    first_delay_ms  before the first
    fail_after      fail after so many chunks
    error           with this code (alone: at once); UNEXPECTED where none is named
    reasoning       think this aloud before answering
    tool_calls      ask for these calls at the end
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re

from waifu_provider import Embeddings, Finish, Provider, ProviderError, Reasoning, ToolCall

MODELS = ["echo", "count"]
COUNT_TO = 10


class Echo(Provider):
    def models(self):
        return MODELS

    def embed(self, model_id, texts):
        _see_that_it_is_known(model_id)
        counts = [[float(len(text)), float(len(text.split()))] for text in texts]
        return Embeddings(counts, sum(len(text.split()) for text in texts))

    def pull(self, model_id, progress):
        _see_that_it_is_known(model_id)
        progress(1.0, f"`{model_id}` is there.")

    async def generate(self, request):
        extra = request.extra or {}
        words, limit = _words(request), request.max_output_length
        await _wait(extra.get("first_delay_ms"))
        if extra.get("reasoning"):
            yield Reasoning(extra["reasoning"])
        _fail_if_asked(extra, 0)
        spoken = 0
        for word in itertools.islice(words, limit):
            yield word
            spoken += 1
            _fail_if_asked(extra, spoken)
            await _wait(extra.get("delay_ms"))
        for call in extra.get("tool_calls") or []:
            yield ToolCall(**call)
        yield Finish(_reason(extra, words), _tokens_in(request), spoken)


def _words(request):
    """What it will say, made while it is said."""
    _see_that_it_is_known(request.model_id)
    text = _heard(request)[-1]
    if request.response_format is not None:
        text = json.dumps({"said": text})
    elif request.model_id == "count":
        last = request.max_output_length or COUNT_TO
        return (f" {number}" if number > 1 else "1" for number in range(1, last + 1))
    return (match[0] for match in re.finditer(r"\s*\S+(?:\s+$)?|\s+", text))


def _heard(request):
    if request.prompt is not None:
        return [request.prompt]
    return [message.get("content") or "" for message in request.messages]


def _see_that_it_is_known(model_id):
    if model_id not in MODELS:
        known = " and ".join(f"`{each}`" for each in MODELS)
        raise ProviderError("INVALID_MODEL", f"There is no model `{model_id}`: only {known}.")


async def _wait(milliseconds):
    if milliseconds:
        await asyncio.sleep(milliseconds / 1000)


def _fail_if_asked(extra, spoken):
    wanted = extra.get("fail_after", 0 if "error" in extra else None)
    if wanted is not None and spoken == wanted:
        code = extra.get("error") or "UNEXPECTED"
        raise ProviderError(code, f"Echo was asked to fail with {code}, and does.")


def _reason(extra, words):
    if extra.get("tool_calls"):
        return "tool_calls"
    return "length" if next(words, None) else "stop"


def _tokens_in(request):
    return sum(len(text.split()) for text in _heard(request))
