"""What providers have in common that put messages into words of their own.

Standard library only, as all that is here.
"""

from __future__ import annotations

import json
from typing import Any

from waifu_provider import ProviderError


def system_text(messages: list[dict[str, Any]]) -> str:
    """All that the system says, for a vendor that hears it apart from the conversation."""
    system = [each for each in messages if each["role"] == "system"]
    if any(each.get("images") for each in system):
        raise ProviderError(
            "UNSUPPORTED", "There can be no images in `system` messages here: send them as `user`."
        )
    return "\n\n".join(each["content"] for each in system if each.get("content"))


def arguments_of(call: dict[str, Any]) -> Any:
    """Of an earlier call, for a vendor that takes no text there."""
    try:
        return json.loads(call["arguments"] or "{}")
    except ValueError as exc:
        raise ProviderError(
            "INVALID_PROMPT", f"The arguments of the call {call['id']} are not JSON: {exc}."
        ) from None


def spoken(turns: list[Any]) -> list[Any]:
    """The turns, of which there must be one."""
    if not turns:
        raise ProviderError("INVALID_PROMPT", "There is nothing to answer: all messages are empty.")
    return turns
