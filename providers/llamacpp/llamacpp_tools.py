"""Tells a model's calls from its speech."""

from __future__ import annotations

import json
import re
from typing import Any

from waifu_provider import ToolCall

_BEGIN = "<tool_call>"
_CALL = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|$)", re.DOTALL)


class ToolFilter:
    """Lets speech pass, and holds back what may be a call."""

    def __init__(self) -> None:
        self._held = ""
        self._nothing_said = True

    def feed(self, text: str) -> str:
        self._held += text
        begin = 0 if self._may_be_bare() else _where_it_may_begin(self._held)
        said, self._held = self._held[:begin], self._held[begin:]
        self._nothing_said = self._nothing_said and not said.strip()
        return said

    def rest(self) -> tuple[list[ToolCall], str]:
        """The calls that were made, and what was none."""
        held, self._held = self._held, ""
        calls = [call for call in map(_read, _CALL.findall(held)) if call]
        if not calls and self._nothing_said and (bare := _read(held)):
            return _numbered([bare]), ""
        return (_numbered(calls), "") if calls else ([], held)

    def _may_be_bare(self) -> bool:
        """Some answer with the JSON alone."""
        return self._nothing_said and self._held.lstrip().startswith("{")


def _where_it_may_begin(text: str) -> int:
    if (begin := text.find(_BEGIN)) >= 0:
        return begin
    for length in range(min(len(_BEGIN) - 1, len(text)), 0, -1):
        if text.endswith(_BEGIN[:length]):
            return len(text) - length
    return len(text)


def _read(text: str) -> tuple[str, str] | None:
    try:
        call: Any = json.loads(text)
        arguments = call.get("arguments", call.get("parameters", {}))
        return str(call["name"]), json.dumps(arguments, ensure_ascii=False)
    except (ValueError, KeyError, AttributeError):
        return None


def _numbered(calls: list[tuple[str, str]]) -> list[ToolCall]:
    return [ToolCall(f"call_{at}", name, text) for at, (name, text) in enumerate(calls)]
