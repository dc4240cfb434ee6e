"""A request of ours in Cohere's words."""

from __future__ import annotations

from waifu_provider import ProviderError

_MOST_STOPS = 5


def body_of(request, *, thinks):
    """`thinks` says whether the model can think."""
    penalties = request.penalties or {}
    body = {
        "model": request.model_id,
        "messages": [_message(message) for message in request.messages],
        "stream": request.stream,
        "temperature": _within(0, request.temperature, 1),
        "p": _within(0.01, request.top_p, 0.99),
        "seed": request.seed,
        "presence_penalty": _within(0, penalties.get("presence"), 1),
        "frequency_penalty": _within(0, penalties.get("frequency"), 1),
        "max_tokens": request.max_output_length,
        "stop_sequences": (request.stop_tokens or [])[:_MOST_STOPS] or None,
        "response_format": _format(request.response_format),
        "tools": request.tools,
        "thinking": _thinking(request) if thinks else None,
    }
    said = {name: value for name, value in body.items() if value is not None}
    return {**said, **(request.extra or {})}


def _within(least, value, most):
    return None if value is None else min(max(least, value), most)


def _thinking(request):
    return {"type": "enabled" if request.reasoning == "send" else "disabled"}


def _format(wanted):
    kind = (wanted or {}).get("type", "text")
    if kind == "text":
        return None
    if kind not in ("json_schema", "json_object"):
        raise ProviderError("UNSUPPORTED", f"There is no `response_format` {kind} here.")
    if kind == "json_object":
        return {"type": "json_object"}
    return {"type": "json_object", "json_schema": wanted["json_schema"]["schema"]}


def _message(message):
    said = {"role": message["role"], "content": _content(message)}
    if message.get("tool_call_id"):
        said["tool_call_id"] = message["tool_call_id"]
    if calls := message.get("tool_calls"):
        said["tool_calls"] = [_call(call) for call in calls]
        if plan := next((call["signature"] for call in calls if call.get("signature")), None):
            said["tool_plan"] = plan
    if not said["content"] and "tool_calls" in said:
        del said["content"]
    return said


def _content(message):
    text = message.get("content") or ""
    if not message.get("images"):
        return text
    urls = [f"data:{each['mime']};base64,{each['data']}" for each in message["images"]]
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return ([{"type": "text", "text": text}] if text else []) + images


def _call(call):
    function = {"name": call["name"], "arguments": call["arguments"] or "{}"}
    return {"id": call["id"], "type": "function", "function": function}
