"""A request of ours in Ollama's words."""

from __future__ import annotations

import json

from ollama_errors import lacks
from waifu_provider import ProviderError

_OPTIONS = {"temperature": "temperature", "top_p": "top_p", "seed": "seed"}
_OPTIONS |= {"max_output_length": "num_predict", "stop_tokens": "stop"}
_PENALTIES = {
    "presence": "presence_penalty",
    "frequency": "frequency_penalty",
    "repetition": "repeat_penalty",
}


def chat_body(request, abilities, always):
    """For /api/chat. `always` is what the settings add to every request."""
    _refuse_what_it_cannot(request, abilities)
    body = {"messages": _messages(request.messages)}
    if request.tools:
        body["tools"] = request.tools
    return _complete(body, request, abilities, always)


def prompt_body(request, abilities, always):
    """For /api/generate: the text goes to the model as it is."""
    if request.tools:
        raise ProviderError("UNSUPPORTED", "Tools need messages: a `prompt` goes as it is.")
    _refuse_what_it_cannot(request, abilities)
    return _complete({"prompt": request.prompt, "raw": True}, request, abilities, always)


def _refuse_what_it_cannot(request, abilities):
    """A server that is too old to tell what its models can do is asked in vain at worst."""
    if abilities is None:
        return
    if "tools" not in abilities and request.tools:
        raise lacks(request.model_id, "cannot call tools")
    if "vision" not in abilities and any(each.get("images") for each in request.messages):
        raise lacks(request.model_id, "cannot see images")
    if "thinking" not in abilities and (request.extra or {}).get("think"):
        raise lacks(request.model_id, "cannot think aloud")


def _complete(body, request, abilities, always):
    extra = dict(request.extra or {})
    options = {**always.get("options", {}), **_options(request), **extra.pop("options", {})}
    # The server would forget the oldest messages without a word.
    body |= {"model": request.model_id, "stream": request.stream, "truncate": False}
    if "thinking" in (abilities or ()):
        body["think"] = request.reasoning == "send"  # left out, it thinks
    if (format := _format(request.response_format)) is not None:
        body["format"] = format
    return {**body, **always, **extra, "options": options}


def _options(request):
    options = {name: getattr(request, ours) for ours, name in _OPTIONS.items()}
    penalties = request.penalties or {}
    options |= {name: penalties.get(ours) for ours, name in _PENALTIES.items()}
    return {name: value for name, value in options.items() if value is not None}


def _format(wanted):
    kind = (wanted or {}).get("type", "text")
    if kind == "text":
        return None
    if kind == "json_object":
        return "json"
    if kind != "json_schema":
        raise ProviderError("UNSUPPORTED", f"There is no `response_format` {kind} here.")
    return wanted["json_schema"]["schema"]


def _messages(messages):
    """A tool's result names the tool, which we know by the call that it answers."""
    called, said = {}, []
    for message in messages:
        for call in message.get("tool_calls") or ():
            called[call["id"]] = call["name"]
        said.append(_message(message, called))
    return said


def _message(message, called):
    said = {"role": message["role"], "content": message.get("content") or ""}
    if message.get("images"):
        said["images"] = [image["data"] for image in message["images"]]
    if calls := message.get("tool_calls"):
        said["tool_calls"] = [_call(call) for call in calls]
        if thought := calls[0].get("signature"):
            said["thinking"] = thought
    if number := message.get("tool_call_id"):
        said |= {"tool_call_id": number, "tool_name": called.get(number, "")}
    return said


def _call(call):
    """Arguments are an object here."""
    try:
        arguments = json.loads(call["arguments"] or "{}")
    except ValueError:
        raise ProviderError(
            "INVALID_PROMPT", f"The arguments of the call `{call['name']}` are no JSON."
        ) from None
    return {"id": call["id"], "function": {"name": call["name"], "arguments": arguments}}
