"""What one client holds: the things that it loaded, or is loading, by name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from waifu_llm.backend import Progress
from waifu_llm.errors import InvalidProvider, NotLoaded, Unavailable, WaifuError
from waifu_llm.house import House
from waifu_llm.loaded import Loaded
from waifu_llm.profiles import Profile
from waifu_llm.tasks import Tasks

_FRESH_MODELS_SECONDS = 0.5
_FAILURES_REMEMBERED = 64


class Asked(Struct, frozen=True):
    """What a load asks for."""

    provider: str
    settings: Mapping[str, Any] = {}
    model_id: str | None = None
    alias: str | None = None
    key: str | None = None
    """The name of a stored one."""


class Holding:
    """What was loaded under one name, or is loading."""

    def __init__(self, asked: Asked, number: int, *, asked_for: bool) -> None:
        self.name = asked.alias or asked.provider
        self.asked = asked
        self.number = number
        self.asked_for = asked_for
        self.stored_version = 0
        self.loaded: Loaded | None = None
        self.loading: asyncio.Task[None]

    def drop(self) -> None:
        if self.loaded:
            self.loaded.drop(self)

    def outcome(self) -> Loaded:
        """What was loaded, now that the loading is over.

        Raises:
            NotLoaded: When it failed.
        """
        if self.loading.cancelled():  # before its first step
            raise NotLoaded(f"`{self.name}` could not be loaded: it was given up.")
        if failure := self.loading.exception():
            raise NotLoaded(f"`{self.name}` could not be loaded: {failure}")
        assert self.loaded is not None
        return self.loaded


class Holdings:
    """All of them, and which one a request is for."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._loading: dict[str, Holding] = {}
        self._loaded: dict[str, Holding] = {}
        self._failed: dict[str, Holding] = {}
        self._loads = Tasks()
        self._latest: Holding | None = None
        self._numbers = 0
        self._left = False

    # Loading

    def load(self, asked: Asked, progress: Progress | None = None) -> asyncio.Task[None]:
        """Start to load; what is asked for from now on waits for it. The task fails as it does."""
        holding = self._begin(asked, progress, asked_for=True)
        self._latest = holding
        return holding.loading

    def _begin(self, asked: Asked, progress: Progress | None, *, asked_for: bool) -> Holding:
        self._numbers += 1
        holding = Holding(asked, self._numbers, asked_for=asked_for)
        self._start(holding, progress)
        return holding

    def _renew(self, known: Holding) -> Holding:
        """The operator changed something: the same again, at once where nothing of it changed."""
        asked = msgspec.structs.replace(known.asked, model_id=None)
        holding = Holding(asked, known.number, asked_for=known.asked_for)
        self._start(holding, None)
        return holding

    def _start(self, holding: Holding, progress: Progress | None) -> None:
        holding.loading = self._loads.start(self._load(holding, progress))
        self._loading[holding.name] = holding
        self._failed.pop(holding.name, None)

    async def _load(self, holding: Holding, progress: Progress | None) -> None:
        try:
            holding.loaded = await self._obtain(holding)
            holding.loaded.hold(holding)
            profile = self.profile_of(holding)
            model_id = holding.asked.model_id or (profile.model if profile else None)
            await holding.loaded.ready(model_id, progress)
        except asyncio.CancelledError:
            self._give_up(holding)
            raise Unavailable(f"The load of `{holding.name}` was given up.") from None
        except InvalidProvider:
            holding.drop()
            self._forget_loading(holding)
            raise
        except BaseException:
            self._give_up(holding)
            raise
        self._forget_loading(holding)
        self._keep(holding)

    def _give_up(self, holding: Holding) -> None:
        """Who asked for it and did not get it is not given another's instead, until asking anew."""
        holding.drop()
        newest = self._forget_loading(holding)
        if newest and holding.asked_for:
            self._forget_unasked(holding.name)
            self._failed[holding.name] = holding
            if len(self._failed) > _FAILURES_REMEMBERED:
                del self._failed[next(iter(self._failed))]

    def _forget_unasked(self, name: str) -> None:
        """What was loaded only because a `generate` named it."""
        loaded = self._loaded.get(name)
        if loaded and not loaded.asked_for:
            self._loaded.pop(name).drop()

    def _forget_loading(self, holding: Holding) -> bool:
        """Returns whether no other load of this name began meanwhile."""
        newest = self._loading.get(holding.name) is holding
        if newest:
            del self._loading[holding.name]
        return newest

    def _keep(self, holding: Holding) -> None:
        """Of two loads under one name the one that was asked for last stays, whichever is done
        first."""
        if self._left:
            holding.drop()
            return
        other = self._loaded.get(holding.name, holding)
        older, newer = sorted((other, holding), key=attrgetter("number"))
        self._loaded[holding.name] = newer
        if older is not newer:
            older.drop()

    @property
    def _default(self) -> Holding | None:
        """What was loaded last, in the order that it was asked for."""
        loaded = (each for each in self._loaded.values() if each.asked_for)
        return max(loaded, key=attrgetter("number"), default=None)

    async def _obtain(self, holding: Holding) -> Loaded:
        house, asked = self._house, holding.asked
        holding.stored_version = house.stored.look()
        spec, profile = house.find(asked.provider)
        place = None
        if house.elsewhere:
            here = house.loads.concurrency(spec)
            place = house.elsewhere.place(spec, profile, asked.settings, asked.key, here)
        values: dict[str, Any] = {}
        if place is None or place.needs_settings:
            values = await house.stored.settings(spec, profile, asked.settings, asked.key)
        if house.closing:
            raise Unavailable("The module is shutting down.")
        return house.loads.obtain(spec, values, place)

    def unload(self, provider: str | None) -> str:
        """Give back what was loaded under this name, or is being loaded; else the last.

        Raises:
            NotLoaded: When that is nothing.
        """
        default = self._default
        name = provider or (default.name if default else None)
        if name is None:
            raise NotLoaded("Nothing is loaded.")
        given_back = [self._loaded.pop(name, None), self._loading.get(name)]
        if given_back == [None, None]:
            raise NotLoaded(f"`{name}` is not loaded.")
        for holding in given_back:
            if holding:
                self._let_go(holding)
        return name

    def _let_go(self, holding: Holding) -> None:
        if self._latest is holding:
            self._latest = None
        if holding.loading.done():
            holding.drop()
        else:
            self._forget_loading(holding)
            holding.loading.cancel()

    async def models(self, provider: str | None) -> list[str]:
        """The models of a loaded provider: asked for anew where that is quick, else as last seen.

        Raises:
            NotLoaded: When nothing is loaded.
        """
        holding = self.find(provider)
        loaded = await self.wait_for(holding, provider)
        try:
            async with asyncio.timeout(_FRESH_MODELS_SECONDS):
                loaded.known_models = await (await loaded.ready()).models()
        except (TimeoutError, WaifuError):
            pass  # what was seen when it was loaded is the better answer
        profile = self.profile_of(holding)
        return profile.first_of(loaded.known_models) if profile else loaded.known_models

    # Finding

    def find(self, named: str | None) -> Holding | None:
        """What a request is for that names this. What needs no key of the client's need not be
        loaded first; what was loaded before the operator changed something is loaded anew."""
        version = self._house.stored.look()
        holding = self._named(named)
        if holding is None and named and named in self._house.names():
            return self._begin(Asked(named), None, asked_for=False)
        is_loaded = holding is not None and self._loaded.get(holding.name) is holding
        if holding and is_loaded and holding.stored_version != version:
            return self._loading.get(holding.name) or self._renew(holding)
        return holding

    def _named(self, named: str | None) -> Holding | None:
        """The load that is named, else the last one while that still loads, else the last that
        succeeded. One that failed tells why."""
        if named:
            known = (self._loading, self._loaded, self._failed)
            return next((each[named] for each in known if named in each), None)
        if self._latest and not self._latest.loading.done():
            return self._latest
        return self._default or self._latest

    def asked(self, name: str) -> Asked:
        """What somebody loads who is to use what this client would, were it to name this."""
        holding = self._named(name)
        return holding.asked if holding else Asked(name)

    def profile_of(self, holding: Holding | None) -> Profile | None:
        return self._house.stored.profiles.get(holding.asked.provider) if holding else None

    async def loaded(self, named: str | None) -> Loaded:
        return await self.wait_for(self.find(named), named)

    async def wait_for(self, holding: Holding | None, named: str | None) -> Loaded:
        if holding is None and named:
            self._house.catalogue().find(named, self._house.stored.profiles)  # says which there are
        if holding is None:
            raise NotLoaded("Nothing is loaded. Send `load` first, or name a provider.")
        if not holding.loading.done():
            await asyncio.wait([holding.loading])
        return holding.outcome()

    def leave(self) -> None:
        """It went: nothing is held any more."""
        self._left = True
        for holding in self._loaded.values():
            holding.drop()
        self._loaded.clear()
        self._loads.cancel()
