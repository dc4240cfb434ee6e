"""Where answers come from: whoever gives them is an Answer; this one asks a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from waifu_llm.asking import ask
from waifu_llm.channels.persona import Persona
from waifu_llm.conversation import Message
from waifu_llm.engine import Engine
from waifu_llm.holdings import Asked


class Answer(Protocol):
    """Answers the last message, as the persona."""

    async def __call__(self, persona: Persona, messages: Sequence[Message]) -> str:
        """
        Raises:
            Closing: When the module shuts down meanwhile.
            WaifuError: When there is no answer.
        """


class Plain:
    """A guest of the engine for each answer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def __call__(self, persona: Persona, messages: Sequence[Message]) -> str:
        asked = Asked(persona.provider, key=persona.key)
        said, params = persona.before(messages), persona.params
        return await ask(self._engine, asked, said, params, helpers=persona.helpers)
