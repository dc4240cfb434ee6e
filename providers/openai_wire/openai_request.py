"""A request of ours in OpenAI's words."""

from __future__ import annotations

import re

from waifu_provider import ProviderError

_NO_NAME = re.compile(r"[\s<|\\/>]+")
_LONGEST_NAME = 64


def body_of(request, dialect, habits):
    body = {"model": request.model_id, **_said(request, dialect), **dialect.body}
    for name in ("top_p", "seed", "tools", "response_format"):
        if (value := getattr(request, name)) is not None:
            body[name] = value
    if request.temperature is not None:
        body["temperature"] = min(request.temperature, dialect.highest_temperature)
    _add_penalties(body, request.penalties or {}, dialect)
    if request.max_output_length is not None:
        body[habits.length_field] = request.max_output_length
    if stops := (request.stop_tokens or [])[: dialect.most_stops]:
        body["stop"] = stops
    if request.stream:
        body["stream"] = True
    if request.stream and dialect.counts_in_streams:
        body["stream_options"] = {"include_usage": True}
    body.update(dialect.thinking if request.reasoning == "send" else dialect.not_thinking)
    body = {name: value for name, value in body.items() if name not in habits.unwanted}
    return {**body, **(request.extra or {})}


def _said(request, dialect):
    if request.prompt is not None:
        if request.response_format:
            raise ProviderError("UNSUPPORTED", "`response_format` goes with `messages` here.")
        return {"prompt": request.prompt}
    messages = _joined(request.messages) if dialect.alternates else request.messages
    names = _Names()
    return {"messages": [_message(each, names, dialect) for each in messages]}


def _add_penalties(body, penalties, dialect):
    fields = {name: f"{name}_penalty" for name in ("presence", "frequency")}
    fields["repetition"] = dialect.repetition_field
    for name, value in penalties.items():
        if value is not None:
            body[fields[name]] = value


def _joined(messages):
    """Two of one role in a row become one, and whoever is late to be the system is a user.

    Tools' results and calls stay as they are.
    """
    joined = []
    for message in messages:
        if message["role"] == "system" and joined and joined[-1]["role"] != "system":
            message = {**message, "role": "user"}
        if joined and _are_one_turn(joined[-1], message):
            joined[-1] = _both(joined[-1], message)
        else:
            joined.append(message)
    return joined


def _are_one_turn(first, second):
    talk = not (first.get("tool_calls") or second.get("tool_calls"))
    return talk and first["role"] == second["role"] != "tool"


def _both(first, second):
    texts = [each["content"] for each in (first, second) if each.get("content")]
    images = [*(first.get("images") or []), *(second.get("images") or [])]
    return {**first, "content": "\n\n".join(texts), "images": images}


def _message(message, names, dialect):
    said = {"role": message["role"], "content": _content(message)}
    if message.get("name"):
        said["name"] = names.of(message["name"])
    if message.get("tool_call_id"):
        said["tool_call_id"] = message["tool_call_id"]
    if calls := message.get("tool_calls"):
        said["tool_calls"] = [_call(call) for call in calls]
        thoughts = calls[0].get("signature")
        if dialect.returns_thoughts and thoughts is not None:
            said["reasoning_content"] = thoughts
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
