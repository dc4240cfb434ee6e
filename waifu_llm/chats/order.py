"""An instruction, read: which type it is, and what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from waifu_llm.chats import answering, chats, llms, providers, records, users
from waifu_llm.chats.entry import Entry
from waifu_llm.chats.fields import read
from waifu_llm.errors import InvalidMessage, WaifuError
from waifu_llm.secrecy import secrets_in

SHORT: dict[str, Entry] = {
    **users.INSTRUCTIONS,
    **records.INSTRUCTIONS,
    **chats.INSTRUCTIONS,
    **providers.INSTRUCTIONS,
    **llms.INSTRUCTIONS,
}
"""What is done in one transaction."""
LONG = answering.INSTRUCTIONS
"""What a model is asked for, which may take minutes."""
TYPES = [*SHORT, *LONG]


class Order(Struct, frozen=True):
    """One instruction."""

    type: str
    said: Mapping[str, Any]
    data: Any
    """The same, typed."""
    key: str | None
    """By which it is known, should it come again."""
    has_sender: bool
    """Whether it is the sender who may send it again, and not only we who may try again."""

    @property
    def is_recorded(self) -> bool:
        return self.type in LONG or SHORT[self.type].is_recorded


def unkeepable(instruction: Mapping[str, Any]) -> WaifuError | None:
    """Why it cannot wait in the inbox: no secret is kept there, and a model is not to be asked
    otherwise than it was said."""
    data = instruction.get("data")
    params = data.get("params") if isinstance(data, Mapping) else None
    for place in secrets_in(params, "data.params"):
        return InvalidMessage(
            f"`{place}` is named like a secret. What comes over a queue is kept until it is "
            "answered, and secrets are not: send the key once, as `api_key` of the LLM provider."
        )
    return None


def decode(instruction: Mapping[str, Any], key: str | None, *, has_sender: bool) -> Order:
    """
    Raises:
        InvalidMessage: When it is no instruction: says what is wrong, and where.
    """
    type, said = instruction.get("type"), instruction.get("data")
    if not isinstance(type, str):
        raise InvalidMessage(f"An instruction has a `type`, one of {', '.join(TYPES)}.")
    if type not in SHORT and type not in LONG:
        raise InvalidMessage(f"There is no instruction `{type}`. Known: {', '.join(TYPES)}.")
    if said is None:
        said = {}
    if not isinstance(said, Mapping):
        raise InvalidMessage("`data` of an instruction should be an object.")
    kind = LONG[type] if type in LONG else SHORT[type].data
    return Order(type, said, read(said, kind), key, has_sender)
