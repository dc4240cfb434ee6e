"""A vendor's signature of a tool call, which only that vendor may see again.

It holds what the model thought, or a proof of it. Who changes providers in the middle of a
conversation sends the one's signatures to the other, so each is marked with where it came from.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from waifu_llm.backend import Result
from waifu_llm.conversation import Message, ToolCall

AnyResult = TypeVar("AnyResult", bound=Result)


def marked(result: AnyResult, provider: str) -> AnyResult:
    """The result, its calls' signatures as a client gets them."""
    if not result.tool_calls:
        return result
    calls = [_marked(call, provider) for call in result.tool_calls]
    return msgspec.structs.replace(result, tool_calls=calls)


def own(messages: list[Message], provider: str) -> list[Message]:
    """The messages, with this provider's own signatures as it gave them, and no others."""
    return [_with_own(each, provider) if each.tool_calls else each for each in messages]


def _marked(call: ToolCall, provider: str) -> ToolCall:
    if call.signature is None:
        return call
    return msgspec.structs.replace(call, signature=f"{provider}:{call.signature}")


def _with_own(message: Message, provider: str) -> Message:
    calls = [_unmarked(call, provider) for call in message.tool_calls or []]
    return msgspec.structs.replace(message, tool_calls=calls)


def _unmarked(call: ToolCall, provider: str) -> ToolCall:
    where, mark, signature = (call.signature or "").partition(":")
    mine = signature if mark and where == provider else None
    return msgspec.structs.replace(call, signature=mine)
