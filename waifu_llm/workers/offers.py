"""What a worker offers: the providers that it was told to, and the models that those have."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

import msgspec

from waifu_llm.engine import Engine
from waifu_llm.errors import WaifuError
from waifu_llm.holdings import Asked
from waifu_llm.tasks import is_ending
from waifu_llm.workers.roll import Offer, is_among

log = logging.getLogger("waifu_llm.workers")


class Offers:
    """`asked` are names of providers, or PROVIDER/MODEL for those that offer no other. That holds
    whatever is listed: not every server lists its models, and some know one by several names.
    `places` are the most at a time of each, 0 for as many as it takes. `quiet` of what is not asked
    for by name and cannot be offered."""

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
        troubles: dict[str, str] = {}
        for provider, models in self._by_provider().items():
            try:
                found[provider] = await self._offer(provider, models, troubles)
            except WaifuError as error:
                if is_ending():  # a load that is given up says so in this way
                    raise asyncio.CancelledError from None
                troubles[f"{provider} is not offered now"] = error.message
        self._offers = found
        self._tell(troubles)
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

    async def _offer(self, provider: str, models: list[str], troubles: dict[str, str]) -> Offer:
        spec = self._engine.find(provider)
        takes = self._engine.concurrency(spec)
        places = min(takes, self._places) if self._places else takes
        if spec.kind == "cloud":
            await self._engine.stored.settings(spec)  # who has no key cannot do it
            return Offer(models or None, places)
        there = await self._models(provider)
        for model in models:
            if there and not is_among(model, there):
                troubles[f"{provider}/{model} is offered, and not listed here"] = ", ".join(there)
        return Offer(models or there, places)

    async def _models(self, provider: str) -> list[str]:
        guest = self._engine.enter(client=False)
        try:
            await guest.holdings.load(Asked(provider))
            return await guest.holdings.models(provider)
        finally:
            self._engine.leave(guest)

    def _tell(self, troubles: dict[str, str]) -> None:
        """Each once, and not each time that it is looked at."""
        for what, trouble in troubles.items():
            if not self._quiet and self._troubles.get(what) != trouble:
                log.warning("%s: %s", what, trouble)
        self._troubles = troubles
