"""Who answers on a channel, and how much: what all tables `[channels.NAME]` have in common."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from waifu_llm.conversation import Message, Params
from waifu_llm.keys import KeyName

_Many = Annotated[int, Meta(ge=0, le=1_000_000)]
_EXCUSE = "Sorry, I cannot answer just now. Please try again later."


class Persona(Struct, frozen=True, forbid_unknown_fields=True):
    """`provider` is one of the module's own, or a profile; what is left out is left to that."""

    provider: Annotated[str, Meta(min_length=1, max_length=512)]
    model: Annotated[str, Meta(max_length=512)] = ""
    key: KeyName | None = None
    """The name of a stored key of the provider."""
    system_prompt: Annotated[str, Meta(max_length=100_000)] = ""
    character_name: Annotated[str, Meta(max_length=512)] = ""
    parameters: Params = Params()
    helpers: bool = False
    """Whether it may call registered helpers."""
    excuse: Annotated[str, Meta(max_length=1000)] = _EXCUSE
    """What is said where there is no answer; nothing where this is empty."""

    @property
    def params(self) -> Params:
        """How to answer, as a `generate` says it."""
        return msgspec.structs.replace(
            self.parameters,
            model_id=self.model or None,
            character_name=self.character_name or None,
        )

    def before(self, messages: Sequence[Message]) -> list[Message]:
        """What goes to the model: first who it is to be."""
        said = list(messages)
        return [Message("system", self.system_prompt), *said] if self.system_prompt else said


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """How much is said at most. A cost is one mail, or one segment of an SMS."""

    per_ten_minutes: _Many = 10
    """Answers to one person."""
    per_day: _Many = 50
    cost_per_day: _Many = 1000
    """To all together."""
    cost_per_day_per_person: _Many = 200
    waiting: _Many = 500
    """Messages that may wait for an answer."""
    allowed: tuple[str, ...] = ("*",)
    """Who is answered: addresses, where `*` stands for anything."""

    def allows(self, address: str) -> bool:
        return any(fnmatchcase(address.casefold(), each.casefold()) for each in self.allowed)
