"""A request of ours in Anthropic's words."""

from __future__ import annotations

import json

from waifu_messages import arguments_of, spoken, system_text
from waifu_provider import ProviderError

_USUAL_LENGTH = 8192
_THINKING_TOKENS = 4096
_ROLES = {"user": "user", "tool": "user", "assistant": "assistant"}


def body_of(request, model):
    """`model` is what the vendor's list says of it, or None."""
    messages, system = _conversation(request.messages)
    body = {"model": request.model_id, "messages": messages}
    if system:
        body["system"] = system
    if request.stream:
        body["stream"] = True
    if stops := [each for each in request.stop_tokens or [] if each.strip()]:
        body["stop_sequences"] = stops
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    body |= _format(request.response_format)
    body |= _length(request, model) | _thinking(request, model)
    _make_room_for_thoughts(body)
    if request.temperature is not None and body.get("thinking", {}).get("type") in (
        None,
        "disabled",
    ):
        body["temperature"] = min(request.temperature, 1.0)
    return {**body, **(request.extra or {})}


def _length(request, model):
    limit = getattr(model, "max_tokens", None) or _USUAL_LENGTH
    return {"max_tokens": request.max_output_length or min(limit, _USUAL_LENGTH)}


def _thinking(request, model):
    """What happens when nothing is said of it depends on the model, so it is said."""
    capabilities = getattr(model, "capabilities", None)
    if not capabilities or not capabilities.thinking.supported:
        return {}
    takes = capabilities.thinking.types
    if request.reasoning != "send":
        return {"thinking": {"type": "disabled"}} if takes.disabled.supported else {}
    if takes.adaptive.supported:
        return {"thinking": {"type": "adaptive", "display": "summarized"}}
    return {"thinking": {"type": "enabled", "budget_tokens": _THINKING_TOKENS}}


def _make_room_for_thoughts(body):
    """A budget of tokens for thoughts has to be smaller than that of the answer, which it is of."""
    body["max_tokens"] += body.get("thinking", {}).get("budget_tokens", 0)


def _format(wanted):
    kind = (wanted or {}).get("type", "text")
    if kind == "text":
        return {}
    if kind != "json_schema":
        raise ProviderError(
            "UNSUPPORTED", "Anthropic takes a `response_format` only with a schema: `json_schema`."
        )
    schema = wanted["json_schema"]["schema"]
    return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}


def _tool(tool):
    """One that is not a function is the vendor's own, in its own words."""
    if tool.get("type") != "function":
        return tool
    function = tool["function"]
    said = {"name": function["name"]}
    said["input_schema"] = function.get("parameters") or {"type": "object", "properties": {}}
    return said | {name: function[name] for name in ("description", "strict") if name in function}


def _conversation(messages):
    """Turns alternate here, and what the system says stands before them."""
    system = system_text(messages)
    turns = []
    for message in messages:
        if message["role"] == "system":
            continue
        role, blocks = _ROLES[message["role"]], _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    for turn in turns:
        turn["content"].sort(key=lambda block: block["type"] != "tool_result")
    if not turns and system:
        return [{"role": "user", "content": system}], None
    return spoken(turns), system


def _blocks(message):
    if message["role"] == "tool":
        return [_result(message)]
    blocks = [*_thoughts(message), *map(_image, message.get("images") or [])]
    text = message.get("content") or ""
    if message["role"] == "assistant":
        text = text.rstrip()  # an answer to be continued may not end with a space
    if text.strip():
        blocks.append({"type": "text", "text": text})
    return blocks + [_call(call) for call in message.get("tool_calls") or []]


def _result(message):
    content = [*map(_image, message.get("images") or [])]
    if message.get("content"):
        content.insert(0, {"type": "text", "text": message["content"]})
    return {"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": content}


def _image(image):
    source = {"type": "base64", "media_type": image["mime"], "data": image["data"]}
    return {"type": "image", "source": source}


def _thoughts(message):
    """What the model thought before it called came to us as the signature of a call."""
    for call in message.get("tool_calls") or []:
        if call.get("signature"):
            return json.loads(call["signature"])
    return []


def _call(call):
    return {"type": "tool_use", "id": call["id"], "name": call["name"], "input": arguments_of(call)}
