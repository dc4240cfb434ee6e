"""The roll: which workers are there, and what each of them offers.

A worker says so of itself, again and again. One that has said nothing new for as long as its lease
is taken for dead; by this machine's clock, whatever the others show.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from time import monotonic, time
from typing import Any, Literal

import msgspec
from msgspec import Struct

from waifu_llm.errors import InvalidModel, Unavailable, WaifuError
from waifu_llm.workers.link import Link
from waifu_llm.workers.names import ANY, Names, route
from waifu_llm.workers.outages import ALL_ARE_BACK_SECONDS

_SHOWN = 20
_FORGOTTEN_SECONDS = 3600.0
_STRANGER_SECONDS = 5.0
"""So long one is there that took something before it was seen here: what it says of itself comes
with the next look."""


class Offer(Struct, frozen=True):
    """One provider at one worker."""

    models: list[str] | None
    """Nothing where any model may be asked for."""
    places: int
    running: int = 0

    def routes(self, provider: str) -> list[str]:
        """Where its work lies."""
        named = [ANY] if self.models is None else self.models
        return [route(provider), *(route(provider, model) for model in named)]


class Said(Struct, frozen=True):
    """What a worker says of itself."""

    id: str
    host: str
    pid: int
    version: str
    started: float
    heard: float
    """When, by its own clock."""
    state: Literal["ready", "draining"]
    offers: dict[str, Offer]
    lease: float
    done: int = 0
    failed: int = 0


encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Said).decode


class Roll:
    """Read anew by `look`; everything else tells what was seen then."""

    def __init__(self, link: Link, names: Names) -> None:
        self._link = link
        self._names = names
        self._said: dict[str, Said] = {}
        self._heard: dict[str, float] = {}
        """When each said something new, by our clock; or took something, before it was seen."""

    async def look(self) -> None:
        redis = self._link.redis
        told: Any = await redis.zrange(self._names.workers, 0, -1)
        ids = [id.decode() for id in told]
        if ids:
            found: Any = await redis.mget([self._names.worker(id) for id in ids])
            for each in filter(None, found):
                with suppress(msgspec.MsgspecError):  # one of another age, that speaks otherwise
                    self._note(_decode(each))
        gone = time() - _FORGOTTEN_SECONDS
        await redis.zremrangebyscore(self._names.workers, "-inf", gone)
        self._heard = {id: at for id, at in self._heard.items() if self.is_there(id)}
        self._said = {id: said for id, said in self._said.items() if id in self._heard}

    def _note(self, said: Said) -> None:
        known = self._said.get(said.id)
        if known is None or known.heard != said.heard:
            self._heard[said.id] = monotonic()
        self._said[said.id] = said

    def took(self, worker: str) -> None:
        """Who takes something is there."""
        if worker not in self._said:
            self._heard[worker] = monotonic()

    @property
    def workers(self) -> list[Said]:
        return sorted(self._said.values(), key=lambda said: said.id)

    def is_there(self, worker: str) -> bool:
        """Nobody could be heard while Redis was away, and some come back later than we."""
        heard = self._heard.get(worker)
        if heard is None:
            return False
        said = self._said.get(worker)
        lease = said.lease if said else _STRANGER_SECONDS
        all_were_back = self._link.outages.over_at + ALL_ARE_BACK_SECONDS
        return monotonic() - max(heard, all_were_back) < lease

    # Who does what

    def route(self, provider: str, model: str | None) -> str:
        """Where work for it is to be put.

        Raises:
            Unavailable: When no worker offers the provider.
            InvalidModel: When none of those that do has the model.
        """
        offers = list(self._offers(provider))
        if not offers:
            there = [said for said in self.workers if self.is_there(said.id)]
            raise Unavailable(_nobody_offers(provider, there))
        if not model:
            return route(provider)
        if any(offer.models is not None and model in offer.models for offer in offers):
            return route(provider, model)
        if any(offer.models is None for offer in offers):
            return route(provider, ANY)
        raise InvalidModel(_nobody_has(model, provider, self._offering(provider)))

    def has(self, provider: str, model: str | None) -> bool:
        """Whether somebody there can do it."""
        try:
            return bool(self.route(provider, model))
        except WaifuError:
            return False

    def is_offered(self, wanted: str) -> bool:
        """Whether somebody takes work from this route."""
        provider = wanted.split("/", 1)[0]
        return any(wanted in offer.routes(provider) for offer in self._offers(provider))

    def models(self, provider: str) -> list[str] | None:
        """Those that are named; nothing where any may be asked for."""
        offers = list(self._offers(provider))
        if any(offer.models is None for offer in offers):
            return None
        return list(dict.fromkeys(name for offer in offers for name in offer.models or ()))

    def _offers(self, provider: str) -> Iterator[Offer]:
        return (said.offers[provider] for said in self._offering(provider))

    def _offering(self, provider: str) -> Iterator[Said]:
        for said in self._said.values():
            if said.state == "ready" and provider in said.offers and self.is_there(said.id):
                yield said


# In words. Workers that have the same are told together: of a hundred, most have.


def _nobody_has(model: str, provider: str, workers: Iterable[Said]) -> str:
    ids: dict[str, list[str]] = {}
    for said in workers:
        models = _some(said.offers[provider].models or ["none"])
        ids.setdefault(models, []).append(said.id)
    return f"No worker has the model `{model}` of `{provider}`. There are {_told(ids)}."


def _nobody_offers(provider: str, workers: Iterable[Said]) -> str:
    ids: dict[str, list[str]] = {}
    for said in workers:
        offered = "nothing more" if said.state == "draining" else _some(sorted(said.offers))
        ids.setdefault(offered or "nothing", []).append(said.id)
    there = f"There are {_told(ids)}" if ids else "None is there"
    start = f"`waifu-llm worker --redis … --offers {provider}`"
    return f"No worker offers `{provider}`. {there}. Start one that does: {start}."


def _told(ids: Mapping[str, list[str]]) -> str:
    return _some([f"{_some(workers)} with {what}" for what, workers in ids.items()], "; ")


def _some(names: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{between.join(names[:_SHOWN])}{more}"


def is_among(model: str, there: Sequence[str]) -> bool:
    """A name without a tag means the latest, and that of a file may have its ending."""
    return any(name in (model, f"{model}:latest", model.removesuffix(".gguf")) for name in there)
