"""Answers by itself: with the model that the configuration names, and with the helpers' help.

For whoever brings no model of their own: `/process`, and people who write over a channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from msgspec import Struct

from waifu_llm.backend import Urgency
from waifu_llm.config import Config
from waifu_llm.conversation import FinishReason, Message, Params, Usage
from waifu_llm.engine import Engine
from waifu_llm.errors import ContextTooLong, NotLoaded
from waifu_llm.generation import Final
from waifu_llm.holdings import Asked
from waifu_llm.protocol import Generate
from waifu_llm.whole import OnChunk, Whole


class Unset(NotLoaded):
    """Nobody said who is to answer."""

    http_status: ClassVar[int] = 503


class Persona(Struct, frozen=True):
    """Who answers. What is left empty is as the configuration says."""

    provider: str = ""
    """A provider, or a profile."""
    model: str = ""
    key: str | None = None
    """The name of a stored one."""
    prompt: str = ""
    """The system message, unless the talk begins with one."""
    character_name: str = ""
    params: Params = Params()
    helpers: bool = True
    """Whether the module's helpers may be called, where it has any."""


NOBODY_SPECIAL = Persona()


class Answered(Struct, frozen=True):
    """A whole answer."""

    text: str
    finish_reason: FinishReason
    provider: str
    model: str | None
    usage: Usage | None


class Speaker:
    """Asks through the engine, each time as a guest of its own, who leaves with the answer."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._config = config

    async def answer(
        self,
        messages: Sequence[Message],
        persona: Persona = NOBODY_SPECIAL,
        *,
        urgency: Urgency = "live",
        on_chunk: OnChunk | None = None,
    ) -> Answered:
        """Cancel it, and the model stops. What does not fit the model is tried once more with the
        later half of what was said.

        Raises:
            WaifuError: When there is no answer.
        """
        provider, params = self._whom(persona)
        asked = Generate(
            unique_request_id="answer",
            provider=provider,
            messages=_with_persona(messages, persona),
            params=params,
            stream=True,  # whoever listens: one limit for all of an answer would end long ones
            helpers=persona.helpers and self._engine.has_helpers,
        )
        load = Asked(provider, key=persona.key)
        final = await self._ask(load, asked, urgency, on_chunk)
        shorter = _later_half(asked.messages or [])
        if isinstance(final.error, ContextTooLong) and shorter and not final.response:
            asked = msgspec.structs.replace(asked, messages=shorter)
            final = await self._ask(load, asked, urgency, on_chunk)
        if final.error:
            raise final.error
        return _answered(final)

    async def _ask(
        self, load: Asked, asked: Generate, urgency: Urgency, on_chunk: OnChunk | None
    ) -> Final:
        guest = self._engine.enter(client=False, urgency=urgency)
        listener = Whole(on_chunk)
        try:
            guest.holdings.load(load)
            guest.generate(asked, listener)
            return await listener.over
        finally:
            self._engine.leave(guest)

    def _whom(self, persona: Persona) -> tuple[str, Params]:
        """
        Raises:
            Unset: When nobody is named, and it cannot be told who is meant.
        """
        provider = persona.provider or self._config.process_provider or self._only_profile()
        own = bool(persona.provider) and persona.provider != self._config.process_provider
        model = persona.model or ("" if own else self._config.process_model)
        given = persona.params
        return provider, msgspec.structs.replace(
            given,
            model_id=given.model_id or model or None,
            character_name=given.character_name or persona.character_name or None,
        )

    def _only_profile(self) -> str:
        stored = self._engine.stored
        stored.look()
        if len(stored.profiles) == 1:
            return next(iter(stored.profiles))
        why = "there are several profiles" if stored.profiles else "there is no profile"
        raise Unset(
            f"Nobody is set to answer, and {why}: set `process_provider` to a profile, or to a "
            "provider and `process_model` to one of its models."
        )


def _with_persona(messages: Sequence[Message], persona: Persona) -> list[Message]:
    if not persona.prompt or (messages and messages[0].role == "system"):
        return list(messages)
    return [Message("system", persona.prompt), *messages]


def _later_half(messages: list[Message]) -> list[Message]:
    """With who is spoken to; nothing, where there is no half."""
    first = messages[:1] if messages and messages[0].role == "system" else []
    said = messages[len(first) :]
    return [*first, *said[len(said) // 2 :]] if len(said) > 1 else []


def _answered(final: Final) -> Answered:
    return Answered(
        final.response, final.finish_reason, final.provider, final.model_id, final.usage
    )
