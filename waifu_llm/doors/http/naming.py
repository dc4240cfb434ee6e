"""Which provider and which model a name stands for, and which names there are.

A model is called `PROVIDER/MODEL`; the first slash parts them, so `openrouter/meta/llama` is the
model `meta/llama` of `openrouter`. The name of a profile alone is the profile with its model;
`PROFILE/MODEL` is the profile with another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from math import inf
from time import monotonic

from msgspec import Struct

from waifu_llm.doors.http.asking import guest_with
from waifu_llm.engine import Engine
from waifu_llm.errors import InvalidModel, WaifuError
from waifu_llm.plugins import Catalogue
from waifu_llm.profiles import Profile
from waifu_llm.specs import ProviderSpec
from waifu_llm.tasks import Tasks

LOOK_SECONDS = 3.0
"""How long who asks for the models waits for providers that have to be started to say theirs."""
FRESH_SECONDS = 60.0
"""How long what a provider said is not asked for again, nor one that failed."""
log = logging.getLogger("waifu_llm.http")


class Aim(Struct, frozen=True):
    """What a request is for."""

    provider: str
    """Or the name of a profile."""
    model_id: str | None
    """None where the profile says it."""


class Named(Struct, frozen=True):
    """A model that can be asked for."""

    id: str
    provider: str
    """By its own name."""
    is_profile: bool = False


class Models:
    """All of them, as far as they are known without a load; or with one, where that is quick."""

    def __init__(self, engine: Engine, is_installed: Callable[[ProviderSpec], bool]) -> None:
        self._engine = engine
        self._is_installed = is_installed
        self._seen: dict[str, list[str]] = {}
        self._looked_at: dict[str, float] = {}
        self._looking = Tasks()

    def aim(self, name: str) -> Aim:
        """
        Raises:
            InvalidModel: When it names nothing that could be asked.
        """
        self._engine.stored.look()
        first, slash, rest = name.partition("/")
        if rest and (first in self._profiles or first in self._engine.catalogue().specs):
            return Aim(first, rest)
        bare = name.removesuffix(":latest")  # as some clients of Ollama complete all names
        if bare in self._profiles:
            return Aim(bare, None)
        raise InvalidModel(self._why_not(name, first if slash else ""))

    def _why_not(self, name: str, provider: str) -> str:
        known = self._engine.providers()
        form = "A model is named PROVIDER/MODEL, or is a profile of the configuration"
        if provider and provider not in known:
            available = ", ".join(known)
            return f"There is no provider `{provider}`. {form}. Providers: {available}."
        if name.rstrip("/") in known:
            return f"`{name}` names no model. {form}; GET /v1/models lists those that are known."
        return f"There is no model `{name}`. {form}; GET /v1/models lists those that are known."

    @property
    def _profiles(self) -> Mapping[str, Profile]:
        return self._engine.stored.profiles

    def spec(self, aim: Aim) -> ProviderSpec:
        """Whose it is.

        Raises:
            InvalidProvider: When a profile names one that is not there.
        """
        profile = self._profiles.get(aim.provider)
        return self._engine.catalogue().find(profile.provider if profile else aim.provider)

    # Listing

    async def all(self) -> list[Named]:
        """The profiles, and the models of what is installed. One that was never loaded is, once."""
        catalogue = await asyncio.to_thread(self._engine.catalogue)
        installed = await asyncio.to_thread(self._installed, catalogue)
        self._look_into(each for each in installed if self._is_due(each))
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._looking.over()
        except TimeoutError:
            pass  # who is slow is there the next time
        return [*self._of_profiles(), *self._of_providers()]

    def _installed(self, catalogue: Catalogue) -> list[str]:
        return [each.name for each in catalogue.specs.values() if self._is_installed(each)]

    def _is_due(self, provider: str) -> bool:
        """What is not loaded is not started again only to say the same."""
        age = monotonic() - self._looked_at.get(provider, -inf)
        is_loaded = any(each["provider"] == provider for each in self._engine.status()["loads"])
        return age > FRESH_SECONDS and (provider not in self._seen or is_loaded)

    def _look_into(self, providers: Iterable[str]) -> None:
        for name in providers:
            self._looked_at[name] = monotonic()
            self._looking.start(self._load(name))

    async def _load(self, provider: str) -> None:
        try:
            async with guest_with(self._engine, provider) as guest:
                models = await guest.holdings.models(provider)
        except WaifuError as error:  # it lacks its key, or its server does not run
            log.info("the models of %s are not known: %s", provider, error)
        else:
            self._seen[provider] = list(dict.fromkeys(models))

    def _of_profiles(self) -> list[Named]:
        self._engine.stored.look()
        named = []
        for name in sorted(self._profiles):
            try:
                provider = self._engine.find(name).name
            except WaifuError:
                continue  # it names a provider that is not there
            named.append(Named(name, provider, is_profile=True))
        return named

    def _of_providers(self) -> list[Named]:
        return [
            Named(f"{provider}/{model}", provider)
            for provider, models in sorted(self._seen.items())
            for model in models
        ]

    async def find(self, id: str) -> Named:
        """
        Raises:
            InvalidModel: When there is none of this name.
        """
        aim = self.aim(id)
        for each in await self.all():
            if each.id in (id, id.removesuffix(":latest")):
                return each
        if aim.model_id and aim.provider in self._profiles:
            return Named(id, self.spec(aim).name, is_profile=True)
        raise InvalidModel(f"`{aim.provider}` is not known to have a model `{aim.model_id}`.")
