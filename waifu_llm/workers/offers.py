"""What a worker offers: the providers that it was told to, and the models that those have."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import msgspec

from waifu_llm.engine import Engine
from waifu_llm.errors import WaifuError
from waifu_llm.holdings import Asked
from waifu_llm.workers.roll import Offer

log = logging.getLogger("waifu_llm.workers")


class Offers:
    """`asked` are names of providers, or PROVIDER/MODEL for those that offer no other. `places`
    are the most at a time of each, 0 for as many as it takes. `quiet` of what is not asked for by
    name and cannot be offered."""

    def __init__(
        self, engine: Engine, asked: Sequence[str], places: int, *, quiet: bool = False
    ) -> None:
        self._engine = engine
        self._quiet = quiet
        self._asked = asked
        self._places = places
        self._offers: dict[str, Offer] = {}
        self._troubles: dict[str, str] = {}

    async def look(self) -> dict[str, Offer]:
        """See anew what is there. What cannot be loaded now is not offered now."""
        found: dict[str, Offer] = {}
        for provider, models in self._by_provider().items():
            try:
                found[provider] = await self._offer(provider, models)
                self._troubles.pop(provider, None)
            except WaifuError as error:
                self._complain(provider, error.message)
        self._offers = found
        return found

    def now(self, running: Mapping[str, int]) -> dict[str, Offer]:
        return {
            name: msgspec.structs.replace(offer, running=running.get(name, 0))
            for name, offer in self._offers.items()
        }

    def _by_provider(self) -> dict[str, list[str]]:
        named: dict[str, list[str]] = {}
        for each in self._asked:
            provider, _, model = each.partition("/")
            named.setdefault(provider, []).extend([model] if model else [])
        return named

    async def _offer(self, provider: str, models: list[str]) -> Offer:
        spec = self._engine.find(provider)
        takes = self._engine.concurrency(spec)
        places = min(takes, self._places) if self._places else takes
        if spec.kind == "cloud":
            await self._engine.stored.settings(spec)  # who has no key cannot do it
            return Offer(models or None, places)
        there = await self._models(provider)
        return Offer(self._of_those(provider, models, there) if models else there, places)

    def _of_those(self, provider: str, asked: list[str], there: list[str]) -> list[str]:
        """One that is missing may come yet."""
        found = [model for model in asked if _is_among(model, there)]
        for model in asked:
            name = f"{provider}/{model}"
            if model in found:
                self._troubles.pop(name, None)
            else:
                self._complain(name, f"There is {', '.join(there) or 'no model'} here.")
        return found

    async def _models(self, provider: str) -> list[str]:
        guest = self._engine.enter(client=False)
        try:
            await guest.holdings.load(Asked(provider))
            return await guest.holdings.models(provider)
        finally:
            self._engine.leave(guest)

    def _complain(self, name: str, trouble: str) -> None:
        """Once, and not each time that it is looked at."""
        if not self._quiet and self._troubles.get(name) != trouble:
            log.warning("%s is not offered now: %s", name, trouble)
        self._troubles[name] = trouble


def _is_among(model: str, there: Sequence[str]) -> bool:
    """Where names have tags, the one without means the latest."""
    return any(name in (model, f"{model}:latest") for name in there)
