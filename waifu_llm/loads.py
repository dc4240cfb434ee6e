"""All loaded things. Who asks alike shares one; what nobody holds gives way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from waifu_llm.errors import Busy
from waifu_llm.loaded import Loaded, LoadLimits, OpenBackend, Waiting
from waifu_llm.metrics import Metrics
from waifu_llm.redaction import Redactor
from waifu_llm.specs import ProviderSpec
from waifu_llm.tasks import Tasks


class Place(Struct, frozen=True):
    """Where a thing is to run, when that is not in a process of this machine alone."""

    name: str
    """Things at places of two names are two things."""
    open: OpenBackend
    concurrency: int
    needs_settings: bool
    """Whether it is loaded with what is stored here."""


class Loads:
    """All loaded things. Who asks alike gets the same one."""

    def __init__(
        self,
        open_backend: OpenBackend,
        limits: LoadLimits,
        redactor: Redactor,
        metrics: Metrics | None = None,
    ) -> None:
        self._open_backend = open_backend
        self._limits = limits
        self._redactor = redactor
        self._metrics = metrics or Metrics()
        self._waiting = Waiting(limits.max_waiting)
        self._things: dict[tuple[str, str, str], Loaded] = {}
        self._closing = Tasks()

    def obtain(
        self, spec: ProviderSpec, settings: Mapping[str, Any], place: Place | None = None
    ) -> Loaded:
        """
        Raises:
            Busy: When too many things are loaded already.
        """
        key = (spec.name, json.dumps(settings, sort_keys=True), place.name if place else "")
        if key not in self._things:
            self._make_room()
            self._things[key] = self._new(spec, settings, place)
            self._redactor.learn(spec.secrets_of(settings))
        return self._things[key]

    def _new(self, spec: ProviderSpec, settings: Mapping[str, Any], place: Place | None) -> Loaded:
        return Loaded(
            spec,
            settings,
            place.open if place else self._open_backend,
            self._limits,
            self._waiting,
            self._free,
            place.concurrency if place else self._limits.concurrency(spec),
            self._metrics.of(spec.name).died,
        )

    def _make_room(self) -> None:
        """What nobody holds gives way, the oldest first."""
        if len(self._things) < self._limits.max_loaded:
            return
        idle = next((each for each in self._things.values() if not each.is_held), None)
        if idle is None:
            raise Busy(
                f"{len(self._things)} things are loaded already. Unload one, or raise `max_loaded`."
            )
        self._free(idle)

    def free(self, provider: str, model_id: str | None) -> None:
        """Not after the idle time, but now, what nobody holds and was last asked for this model."""
        for each in list(self._things.values()):
            is_meant = each.spec.name == provider and each.models_asked.last == model_id
            if is_meant and not each.is_held:
                self._free(each)

    def _free(self, loaded: Loaded) -> None:
        self._things = {key: each for key, each in self._things.items() if each is not loaded}
        self._redactor.forget(loaded.spec.secrets_of(loaded.settings))
        self._closing.start(loaded.close())

    def concurrency(self, spec: ProviderSpec) -> int:
        return self._limits.concurrency(spec)

    def give_up(self) -> None:
        """End every load that is under way."""
        for each in self._things.values():
            each.give_up()

    async def close(self) -> None:
        things = list(self._things.values())
        self._things.clear()
        await asyncio.gather(self._closing.over(), *(each.close() for each in things))

    @property
    def waiting(self) -> int:
        return self._waiting.count

    def status(self) -> list[dict[str, Any]]:
        return [each.status() for each in self._things.values()]
