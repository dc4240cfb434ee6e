"""A request of ours in Mistral's words."""

from __future__ import annotations

import hashlib
import re

from waifu_messages import system_text

_HOTTEST = 1.5
_ID = re.compile(r"[A-Za-z0-9]{9}")
_THINKING = {"send": "high"}


def body_of(request, *, thinks):
    """`thinks` says whether the model thinks when it is told to."""
    penalties = request.penalties or {}
    body = {
        "model": request.model_id,
        "messages": _conversation(request.messages),
        "temperature": request.temperature and min(request.temperature, _HOTTEST),
        "top_p": request.top_p,
        "random_seed": request.seed,
        "max_tokens": request.max_output_length,
        "stop": request.stop_tokens or None,
        "tools": request.tools,
        "response_format": request.response_format,
        "stream": request.stream or None,
        "reasoning_effort": _THINKING.get(request.reasoning, "none") if thinks else None,
        **{f"{name}_penalty": value for name, value in penalties.items()},
    }
    said = {name: value for name, value in body.items() if value is not None}
    return {**said, **(request.extra or {})}


def _conversation(messages):
    """The system speaks once and first, and nobody twice in a row. The last word is the user's, or
    is to be continued."""
    system = system_text(messages)
    turns = []
    for message in messages:
        if message["role"] != "system":
            _add(turns, _message(message))
    if turns and turns[-1]["role"] == "assistant" and "tool_calls" not in turns[-1]:
        turns[-1]["prefix"] = True
    if not turns:
        return [{"role": "user", "content": system}]
    return [*([{"role": "system", "content": system}] if system else []), *turns]


def _add(turns, turn):
    last = turns[-1] if turns else {"role": None}
    if turn["role"] == last["role"] != "tool" and "tool_calls" not in last:
        both = _parts(last["content"]) + _parts(turn["content"])
        last.update(turn, content=both)
    else:
        turns.append(turn)


def _message(message):
    said = {"role": message["role"], "content": _content(message)}
    if message.get("tool_call_id"):
        said["tool_call_id"] = _id(message["tool_call_id"])
    if message.get("tool_calls"):
        said["tool_calls"] = [_call(call) for call in message["tool_calls"]]
    return said


def _content(message):
    text = message.get("content") or ""
    if not message.get("images"):
        return text
    images = [f"data:{each['mime']};base64,{each['data']}" for each in message["images"]]
    return _parts(text) + [{"type": "image_url", "image_url": url} for url in images]


def _parts(content):
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content


def _call(call):
    function = {"name": call["name"], "arguments": call["arguments"] or "{}"}
    return {"id": _id(call["id"]), "type": "function", "function": function}


def _id(id):
    """Ids have nine letters and digits here; calls of another vendor's have others."""
    return id if _ID.fullmatch(id) else hashlib.sha256(id.encode()).hexdigest()[:9]
