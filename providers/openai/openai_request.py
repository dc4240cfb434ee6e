"""A request of ours in OpenAI's words."""

from __future__ import annotations

import re

from waifu_provider import ProviderError

_HOME = "api.openai.com"
_NO_NAME = re.compile(r"[\s<|\\/>]+")
_LONGEST_NAME = 64
_MOST_STOPS = 4


class Quirks:
    """In which words a server wants things said, as far as it has told."""

    def __init__(self, base_url):
        self.length_field = "max_completion_tokens" if _HOME in base_url else "max_tokens"
        self.takes_stop = True
        self.counts_in_streams = True

    def learn(self, refusal, body):
        """Change the body so that it may pass, and remember. Returns whether there is hope."""
        if refusal.status_code not in (400, 422):
            return False
        named = f"{refusal.param or ''} {refusal.message}"
        for field, change in self._changes.items():
            if field in body and re.search(rf"\b{field}\b", named):
                change(self, body)
                return True
        return False

    def _swap_length(self, body):
        fields = ["max_tokens", "max_completion_tokens"]
        if self.length_field in body:
            other = fields[fields[0] == self.length_field]
            body[other] = body.pop(self.length_field)
            self.length_field = other

    def _drop_stop(self, body):
        """The text is cut here as well."""
        self.takes_stop = False
        del body["stop"]

    def _drop_count(self, body):
        self.counts_in_streams = False
        del body["stream_options"]

    _changes = {
        "max_tokens": _swap_length,
        "max_completion_tokens": _swap_length,
        "stop": _drop_stop,
        "stream_options": _drop_count,
    }


def body_of(request, quirks):
    body = {"model": request.model_id, "messages": _messages(request.messages)}
    for name in ("temperature", "top_p", "seed", "tools", "response_format"):
        if (value := getattr(request, name)) is not None:
            body[name] = value
    _add_penalties(body, request.penalties or {})
    if request.max_output_length is not None:
        body[quirks.length_field] = request.max_output_length
    if request.stop_tokens and quirks.takes_stop:
        body["stop"] = request.stop_tokens[:_MOST_STOPS]
    if request.stream:
        body["stream"] = True
    if request.stream and quirks.counts_in_streams:
        body["stream_options"] = {"include_usage": True}
    return {**body, **(request.extra or {})}


def _add_penalties(body, penalties):
    for name in ("presence", "frequency"):
        if penalties.get(name) is not None:
            body[f"{name}_penalty"] = penalties[name]
    if penalties.get("repetition") is not None:
        raise ProviderError(
            "UNSUPPORTED", "There is no `repetition` penalty here: use `presence` or `frequency`."
        )


def _messages(messages):
    names = _Names()
    return [_message(message, names) for message in messages]


def _message(message, names):
    said = {"role": message["role"], "content": _content(message)}
    if message.get("name"):
        said["name"] = names.of(message["name"])
    if message.get("tool_call_id"):
        said["tool_call_id"] = message["tool_call_id"]
    if message.get("tool_calls"):
        said["tool_calls"] = [_call(call) for call in message["tool_calls"]]
    return said


def _content(message):
    text = message.get("content")
    if not message.get("images"):
        return text
    parts = [{"type": "text", "text": text}] if text else []
    for image in message["images"]:
        url = f"data:{image['mime']};base64,{image['data']}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts


def _call(call):
    function = {"name": call["name"], "arguments": call["arguments"]}
    return {"id": call["id"], "type": "function", "function": function}


class _Names:
    """Names as the API takes them. Two that differ stay two."""

    def __init__(self):
        self._given = {}

    def of(self, name):
        if name not in self._given:
            self._given[name] = self._free(_NO_NAME.sub("_", name)[:_LONGEST_NAME])
        return self._given[name]

    def _free(self, name):
        candidate, number = name, 1
        while candidate in self._given.values():
            number += 1
            candidate = f"{name[: _LONGEST_NAME - 6]}_{number}"
        return candidate
