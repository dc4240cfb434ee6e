"""Where a provider's work is done: at the workers, here, or here first and what is too much there.

What brings a key of its own is done here: no key goes through Redis.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from waifu_llm.backend import Backend, Progress
from waifu_llm.config import Config
from waifu_llm.errors import WaifuError
from waifu_llm.jobs.work import Source
from waifu_llm.loaded import OpenBackend
from waifu_llm.loads import Place
from waifu_llm.profiles import Profile
from waifu_llm.secrecy import secrets_in
from waifu_llm.specs import ProviderSpec
from waifu_llm.workers.far import FarBackend
from waifu_llm.workers.fleet import Fleet
from waifu_llm.workers.spread import At, Plan, Spread

_OF_JOBS = 3 / 4
"""So much of what may be with the workers at a time. The rest is for what somebody waits for."""
log = logging.getLogger("waifu_llm.workers")


class Rules(Struct, frozen=True):
    """What the operator said: names of providers, or PROVIDER/MODEL, which comes before those."""

    here: frozenset[str]
    here_first: frozenset[str]

    def of(self, provider: str, model: str | None) -> At:
        for name in (f"{provider}/{model}", provider):
            if name in self.here:
                return "here"
            if name in self.here_first:
                return "here first"
        return "workers"

    def all_of(self, provider: str) -> set[At]:
        """All that may hold for one of its models."""
        named = {each for each in self.here | self.here_first if each.startswith(f"{provider}/")}
        models = [each.partition("/")[2] for each in named]
        return {self.of(provider, model) for model in (None, *models)}


class Where:
    """For one module."""

    def __init__(self, fleet: Fleet, config: Config, open_here: OpenBackend) -> None:
        self._fleet = fleet
        self._rules = Rules(frozenset(config.run_here), frozenset(config.run_here_first))
        self._at_once = config.workers_at_once
        self._open_here = open_here

    def concurrency(self, spec: ProviderSpec, here: int) -> int:
        """How many jobs of a provider may run."""
        if self._rules.all_of(spec.name) == {"here"}:
            return here
        return max(1, round(_OF_JOBS * self._at_once))

    def place(
        self,
        spec: ProviderSpec,
        profile: Profile | None,
        settings: Mapping[str, Any],
        key: str | None,
        here: int,
    ) -> Place | None:
        found = self._rules.all_of(spec.name)
        told = {**(profile.load_settings if profile else {}), **settings}
        if found == {"here"} or spec.secrets_of(settings) or any(secrets_in(told)):
            return None
        source = _source(spec, profile, settings, key)
        name = "workers " + msgspec.json.encode(source, order="sorted").decode()
        if found == {"workers"}:
            return Place(name, self._opens_far(source), self._at_once, needs_settings=False)
        return Place(f"here and {name}", self._opens_both(source, here), self._at_once, True)

    def _opens_far(self, source: Source) -> OpenBackend:
        async def open_far(
            spec: ProviderSpec, settings: Mapping[str, Any], progress: Progress
        ) -> Backend:
            return FarBackend(self._fleet, source)

        return open_far

    def _opens_both(self, source: Source, places: int) -> OpenBackend:
        async def open_both(
            spec: ProviderSpec, settings: Mapping[str, Any], progress: Progress
        ) -> Backend:
            far, plan = FarBackend(self._fleet, source), self._plan(spec)
            try:
                here = await self._open_here(spec, settings, progress)
            except WaifuError as error:
                if plan.some_stay or plan.at(None) == "here":
                    raise
                log.warning("%s is left to workers: %s", spec.name, error.message)
                return far
            return Spread(here, far, places, plan)

        return open_both

    def _plan(self, spec: ProviderSpec) -> Plan:
        def at(model: str | None) -> At:
            found = self._rules.of(spec.name, model)
            overflows = found == "here first" and self._fleet.roll.has(spec.name, model)
            return found if found != "here first" or overflows else "here"

        def offered() -> Sequence[str]:
            return self._fleet.roll.models(spec.name) or ()

        return Plan(at, offered, some_stay="here" in self._rules.all_of(spec.name))


def _source(
    spec: ProviderSpec, profile: Profile | None, settings: Mapping[str, Any], key: str | None
) -> Source:
    """What a client asked for, upon what its profile says; no secret of either."""
    told = {**(profile.load_settings if profile else {}), **settings}
    open_ones = {
        name: value
        for name, value in told.items()
        if name in spec.settings and value not in (None, "") and not spec.settings[name].secret
    }
    return Source(spec.name, open_ones, key or (profile.key if profile else None))
