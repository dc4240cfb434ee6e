"""The two forms in which a model calls helpers: as tools, or in plain text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from waifu_llm.backend import Request, Result
from waifu_llm.conversation import Message, ToolCall
from waifu_llm.helpers import plain, tools
from waifu_llm.helpers.way import Capability


class Form(Protocol):
    """One round in this form, and what is kept of it."""

    def request(self, first: Request, more: list[Message]) -> Request:
        """The first request, with what was said and done since."""

    def hear(self, text: str) -> str:
        """What is to be spoken of it."""

    def end(self) -> str:
        """What is left to be spoken."""

    def calls(self, result: Result | None) -> list[ToolCall]:
        """What the model asks for: before its end, as far as that is known."""

    def turn(self, said: str, calls: list[ToolCall], results: list[str]) -> list[Message]:
        """What is said and done now."""


class AsTools:
    """For providers that take tools."""

    def __init__(self, offered: Mapping[str, Capability]) -> None:
        self._offered = offered

    def request(self, first: Request, more: list[Message]) -> Request:
        lent = [tools.definition(each) for each in self._offered.values()]
        params = msgspec.structs.replace(first.params, tools=[*(first.params.tools or ()), *lent])
        return msgspec.structs.replace(first, messages=[*first.messages, *more], params=params)

    def hear(self, text: str) -> str:
        return text

    def end(self) -> str:
        return ""

    def calls(self, result: Result | None) -> list[ToolCall]:
        return _with_ids_of_their_own(result.tool_calls or []) if result else []

    def turn(self, said: str, calls: list[ToolCall], results: list[str]) -> list[Message]:
        answers = [
            Message("tool", result, tool_call_id=call.id)
            for call, result in zip(calls, results, strict=True)
        ]
        return [Message("assistant", said or None, tool_calls=calls), *answers]


class InPlainText:
    """For all others."""

    def __init__(self, offered: Mapping[str, Capability]) -> None:
        self._offered = offered
        self._ear = plain.Ear()

    def request(self, first: Request, more: list[Message]) -> Request:
        self._ear = plain.Ear()
        talk = plain.with_explanation(first.messages, self._offered)
        return msgspec.structs.replace(first, messages=[*talk, *more])

    def hear(self, text: str) -> str:
        return self._ear.hear(text)

    def end(self) -> str:
        return self._ear.end()

    def calls(self, result: Result | None) -> list[ToolCall]:
        if self._ear.call is None:
            return []
        name, arguments = self._ear.call
        return [ToolCall("call", name, arguments)]

    def turn(self, said: str, calls: list[ToolCall], results: list[str]) -> list[Message]:
        return plain.turn(said, calls, results)


def _with_ids_of_their_own(calls: list[ToolCall]) -> list[ToolCall]:
    """Some servers give none, or all the same; results are told apart by them."""
    if len({call.id for call in calls if call.id}) == len(calls):
        return calls
    return [msgspec.structs.replace(call, id=f"call_{n}") for n, call in enumerate(calls, 1)]
