"""Answers by itself, with the model that the configuration names: for whoever brings none."""

from __future__ import annotations

from typing import ClassVar

from waifu_llm.asking import ask
from waifu_llm.config import Config
from waifu_llm.conversation import Message, Params
from waifu_llm.engine import Engine
from waifu_llm.errors import NotLoaded
from waifu_llm.holdings import Asked


class Unset(NotLoaded):
    """Nobody said who is to answer."""

    http_status: ClassVar[int] = 503


class Speaker:
    """Who answers `/process`."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._config = config

    async def answer(self, prompt: str) -> str:
        """With the helpers' help, where the module has any. Cancel it, and the model stops.

        Raises:
            WaifuError: When there is no answer.
        """
        provider = self._config.process_provider or self._only_profile()
        params = Params(model_id=self._config.process_model or None)
        said = [Message("user", prompt)]
        return await ask(self._engine, Asked(provider), said, params, helpers=True)

    def _only_profile(self) -> str:
        """
        Raises:
            Unset: When it cannot be told who is meant.
        """
        stored = self._engine.stored
        stored.look()
        if len(stored.profiles) == 1:
            return next(iter(stored.profiles))
        why = "there are several profiles" if stored.profiles else "there is no profile"
        raise Unset(
            f"Nobody is set to answer, and {why}: set `process_provider` to a profile, or to a "
            "provider and `process_model` to one of its models."
        )
