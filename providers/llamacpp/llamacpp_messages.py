"""Messages as chat templates take them. Shared with llamacpp-prebuilt. Standard library only."""

from __future__ import annotations

import json
import re
from typing import Any

from waifu_provider import ProviderError

Message = dict[str, Any]

_MARKS = re.compile(
    r"<\|[^<>|\s]{1,40}\|>|<\uff5c[^<>\uff5c\s]{1,40}\uff5c>|</?s>|<(?:bos|eos|pad|unk)>"
    r"|<(?:start|end)_of_turn>|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]"
)
"""What templates put between messages. In a message a model would take it for that as well."""
_ZERO_WIDTH_SPACE = "\u200b"


def as_templates_take(messages: list[Message]) -> list[Message]:
    """In OpenAI's shape, which the templates are written for."""
    return [_shaped(message) for message in messages]


def plainer(messages: list[Message]) -> list[Message]:
    """For a template that refuses them: no system messages, and user and assistant in turn."""
    turns: list[Message] = []
    for message in messages:
        role = "assistant" if message["role"] == "assistant" else "user"
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += f"\n\n{message['content']}"
        else:
            turns.append({"role": role, "content": message["content"]})
    return turns


def grammar_schema(response_format: Any) -> dict[str, Any] | None:
    """The JSON schema that an answer must follow, if it must follow one."""
    kind = (response_format or {}).get("type", "text")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    if kind != "json_schema":
        raise ProviderError("UNSUPPORTED", f"There is no `response_format` {kind} here.")
    return response_format["json_schema"]["schema"]


def arguments_of(call: dict[str, Any]) -> Any:
    """As an object where it is one: templates write it as JSON themselves."""
    try:
        return json.loads(call["arguments"])
    except ValueError:
        return call["arguments"]


def _shaped(message: Message) -> Message:
    shaped = {"role": message["role"], "content": _harmless(message.get("content") or "")}
    if calls := message.get("tool_calls"):
        shaped["tool_calls"] = [_call(call) for call in calls]
    if number := message.get("tool_call_id"):
        shaped["tool_call_id"] = number
    return shaped


def _harmless(text: str) -> str:
    """No chatter may end a message and begin another one, as the system say."""
    return _MARKS.sub(lambda mark: f"{mark[0][0]}{_ZERO_WIDTH_SPACE}{mark[0][1:]}", text)


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": arguments_of(call)}
    return {"id": call["id"], "type": "function", "function": function}
