"""A Guest: somebody who came in by a door. What it loads and starts is its own.

Every door opens a Guest for each of its clients, calls these methods, and sends what comes back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from waifu_llm import names, profiles
from waifu_llm.backend import Progress, Request
from waifu_llm.conversation import Params, Penalties
from waifu_llm.errors import (
    InvalidMessage,
    InvalidModel,
    InvalidProvider,
    NotLoaded,
    Unavailable,
    Unexpected,
    Unsupported,
    WaifuError,
)
from waifu_llm.generation import Generation, Limits, Listener, silence
from waifu_llm.loads import Loaded, Loads
from waifu_llm.plugins import Catalogue
from waifu_llm.profiles import Profile
from waifu_llm.protocol import Generate
from waifu_llm.specs import Capability, ProviderSpec
from waifu_llm.stored import Stored
from waifu_llm.works import Work, Works

_FRESH_MODELS_SECONDS = 0.5
_FAILURES_REMEMBERED = 64
_MUCH_TEXT = 256 * 1024

log = logging.getLogger("waifu_llm.guest")


class Waits(Struct, frozen=True):
    """The longest waits where a request names none, in milliseconds."""

    first_token_ms: int
    local_first_token_ms: int
    between_tokens_ms: int
    answer_ms: int

    def limits(self, spec: ProviderSpec, params: Params, stream: bool) -> Limits:
        asked = params.timeout_ms
        if not stream:
            whole = (asked or self.answer_ms) / 1000
            return Limits(whole, whole)
        first = self.first_token_ms if spec.kind == "cloud" else self.local_first_token_ms
        return Limits((asked or first) / 1000, (asked or self.between_tokens_ms) / 1000)


class House(Struct):
    """What all guests share."""

    loads: Loads
    catalogue: Callable[[], Catalogue]
    stored: Stored
    waits: Waits
    sessions: dict[str, dict[Generation, None]]
    generations: dict[Generation, None]
    closing: bool = False

    def names(self) -> list[str]:
        """What can be loaded: the providers and the profiles."""
        self.stored.look()
        return sorted({*self.catalogue().specs, *self.stored.profiles})


class Asked(Struct, frozen=True):
    """What a load asks for."""

    provider: str
    settings: Mapping[str, Any] = {}
    model_id: str | None = None
    alias: str | None = None
    key: str | None = None
    """The name of a stored one."""


class _Reference:
    """What this guest loaded under one name, or is loading."""

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


class Guest:
    """One client's loads and generations."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._loading: dict[str, _Reference] = {}
        self._loaded: dict[str, _Reference] = {}
        self._failed: dict[str, _Reference] = {}
        self._loads: set[asyncio.Task[None]] = set()
        self._latest: _Reference | None = None
        self._numbers = 0
        self._left = False
        self._generations: dict[str, Generation] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.works = Works(self._loaded_for, house.waits.answer_ms / 1000)

    # Loading

    def load(self, asked: Asked, progress: Progress | None = None) -> asyncio.Task[None]:
        """Start to load; what is asked for from now on waits for it. The task fails as it does."""
        reference = self._begin(asked, progress, asked_for=True)
        self._latest = reference
        return reference.loading

    def _begin(self, asked: Asked, progress: Progress | None, *, asked_for: bool) -> _Reference:
        self._numbers += 1
        reference = _Reference(asked, self._numbers, asked_for=asked_for)
        self._start(reference, progress)
        return reference

    def _renew(self, known: _Reference) -> _Reference:
        """The operator changed something: the same again, at once where nothing of it changed."""
        asked = msgspec.structs.replace(known.asked, model_id=None)
        reference = _Reference(asked, known.number, asked_for=known.asked_for)
        self._start(reference, None)
        return reference

    def _start(self, reference: _Reference, progress: Progress | None) -> None:
        reference.loading = load = self._task(self._load(reference, progress))
        self._loads.add(load)
        load.add_done_callback(self._loads.discard)
        self._loading[reference.name] = reference
        self._failed.pop(reference.name, None)

    async def _load(self, reference: _Reference, progress: Progress | None) -> None:
        try:
            reference.loaded = await self._obtain(reference)
            reference.loaded.hold(reference)
            profile = self._profile_of(reference)
            model_id = reference.asked.model_id or (profile.model if profile else None)
            await reference.loaded.ready(model_id, progress)
        except asyncio.CancelledError:
            self._give_up(reference)
            raise Unavailable(f"The load of `{reference.name}` was given up.") from None
        except InvalidProvider:
            reference.drop()
            self._forget_loading(reference)
            raise
        except BaseException:
            self._give_up(reference)
            raise
        self._forget_loading(reference)
        self._keep(reference)

    def _give_up(self, reference: _Reference) -> None:
        """Who asked for it and did not get it is not given another's instead, until asking anew."""
        reference.drop()
        newest = self._forget_loading(reference)
        if newest and reference.asked_for:
            self._forget_unasked(reference.name)
            self._failed[reference.name] = reference
            if len(self._failed) > _FAILURES_REMEMBERED:
                del self._failed[next(iter(self._failed))]

    def _forget_unasked(self, name: str) -> None:
        """What was loaded only because a `generate` named it."""
        loaded = self._loaded.get(name)
        if loaded and not loaded.asked_for:
            self._loaded.pop(name).drop()

    def _forget_loading(self, reference: _Reference) -> bool:
        """Returns whether no other load of this name began meanwhile."""
        newest = self._loading.get(reference.name) is reference
        if newest:
            del self._loading[reference.name]
        return newest

    def _keep(self, reference: _Reference) -> None:
        """Of two loads under one name the one that was asked for last stays, whichever is done
        first."""
        if self._left:
            reference.drop()
            return
        other = self._loaded.get(reference.name, reference)
        older, newer = sorted((other, reference), key=attrgetter("number"))
        self._loaded[reference.name] = newer
        if older is not newer:
            older.drop()

    @property
    def _default(self) -> _Reference | None:
        """What was loaded last, in the order that it was asked for."""
        loaded = (each for each in self._loaded.values() if each.asked_for)
        return max(loaded, key=attrgetter("number"), default=None)

    async def _obtain(self, reference: _Reference) -> Loaded:
        house, asked = self._house, reference.asked
        reference.stored_version = house.stored.look()
        profile = house.stored.profiles.get(asked.provider)
        name = profile.provider if profile else asked.provider
        spec = house.catalogue().find(name, house.stored.profiles)
        values = await house.stored.settings(spec, profile, asked.settings, asked.key)
        if house.closing:
            raise Unavailable("The module is shutting down.")
        return house.loads.obtain(spec, values)

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
        for reference in given_back:
            if reference:
                self._let_go(reference)
        return name

    def _let_go(self, reference: _Reference) -> None:
        if self._latest is reference:
            self._latest = None
        if reference.loading.done():
            reference.drop()
        else:
            self._forget_loading(reference)
            reference.loading.cancel()

    async def models(self, provider: str | None) -> list[str]:
        """The models of a loaded provider: asked for anew where that is quick, else as last seen.

        Raises:
            NotLoaded: When nothing is loaded.
        """
        reference = self._find(provider)
        loaded = await self._wait_for(reference, provider)
        try:
            async with asyncio.timeout(_FRESH_MODELS_SECONDS):
                loaded.known_models = await (await loaded.ready()).models()
        except (TimeoutError, WaifuError):
            pass  # what was seen when it was loaded is the better answer
        profile = self._profile_of(reference)
        return profile.first_of(loaded.known_models) if profile else loaded.known_models

    # Generating

    def generate(self, asked: Generate, listener: Listener) -> Generation:
        """Start to answer. What goes wrong from here on is in the generation's final.

        Raises:
            InvalidMessage: When the id is in use by a generation that still runs.
        """
        if self.is_live(asked.id):
            raise InvalidMessage(
                f"`{asked.id}` is the id of a generation that still runs. It goes on; "
                "give each request an id of its own."
            )
        reference = self._find(asked.provider_name)
        provider = asked.provider_name or (reference.name if reference else "")
        sent = Request(asked.messages or [], asked.params, bool(asked.stream), asked.prompt)
        request = profiles.apply(self._profile_of(reference), sent)
        generation = Generation(asked.id, provider, request, listener, asked.session)
        self._register(generation)
        task = self._task(self._drive(generation, reference, asked.provider_name))
        generation.waits(task.cancel)
        return generation

    async def _drive(
        self, generation: Generation, reference: _Reference | None, named: str | None
    ) -> None:
        try:
            if self._house.closing:
                raise Unavailable("The module is shutting down.")
            loaded = await self._wait_for(reference, named)
            loaded.hold(generation)
            try:
                await self._run(generation, loaded)
            finally:
                loaded.drop(generation)
        except WaifuError as error:
            generation.fail(error)
        except Exception as exc:
            generation.fail(Unexpected(f"A fault of the module: {exc!r}. Please report it."))
            raise

    async def _run(self, generation: Generation, loaded: Loaded) -> None:
        request = await _prepare(generation.request, loaded.spec)
        async with loaded.place() as backend:
            if generation.ended:
                return
            generation.starts(self._house.waits.limits(loaded.spec, request.params, request.stream))
            running = backend.generate(request, generation)
            generation.runs(running)
            await running.over

    def is_live(self, id: str | None) -> bool:
        """Whether a generation of this id still runs."""
        return id in self._generations

    def _reference(self, named: str | None) -> _Reference | None:
        """What this is for: the load that it names, else the last one while that still loads,
        else the last that succeeded. One that failed tells why."""
        if named:
            known = (self._loading, self._loaded, self._failed)
            return next((each[named] for each in known if named in each), None)
        if self._latest and not self._latest.loading.done():
            return self._latest
        return self._default or self._latest

    def _find(self, named: str | None) -> _Reference | None:
        """The same. What needs no key of the client's need not be loaded first; what was loaded
        before the operator changed something is loaded anew."""
        version = self._house.stored.look()
        reference = self._reference(named)
        if reference is None and named and named in self._house.names():
            return self._begin(Asked(named), None, asked_for=False)
        is_loaded = reference is not None and self._loaded.get(reference.name) is reference
        if reference and is_loaded and reference.stored_version != version:
            return self._loading.get(reference.name) or self._renew(reference)
        return reference

    def _profile_of(self, reference: _Reference | None) -> Profile | None:
        return self._house.stored.profiles.get(reference.asked.provider) if reference else None

    async def _loaded_for(self, named: str | None) -> Loaded:
        return await self._wait_for(self._find(named), named)

    async def _wait_for(self, reference: _Reference | None, named: str | None) -> Loaded:
        if reference is None and named:
            self._house.catalogue().find(named, self._house.stored.profiles)  # says which there are
        if reference is None:
            raise NotLoaded("Nothing is loaded. Send `load` first, or name a provider.")
        if not reference.loading.done():
            await asyncio.wait([reference.loading])
        return reference.outcome()

    # Silence

    def interrupt(
        self, target: str | None = None, session: str | None = None
    ) -> list[Generation | Work[Any]]:
        """Silence what runs, and tell what that was. Its finals follow, after the next turn."""
        stopped = self.works.stop(target) if target is not None else []
        return [*silence(self._named(target, session)), *stopped]

    def _named(self, target: str | None, session: str | None) -> list[Generation]:
        if target is not None:
            return [self._generations[target]] if target in self._generations else []
        if session is not None:
            return list(self._house.sessions.get(session, ()))
        return list(self._generations.values())

    def leave(self) -> None:
        """It went: nobody listens any more, and nothing is held."""
        self._left = True
        self.interrupt()
        self.works.leave()
        for reference in self._loaded.values():
            reference.drop()
        self._loaded.clear()
        for load in self._loads:
            load.cancel()

    # Bookkeeping

    def _register(self, generation: Generation) -> None:
        self._generations[generation.id] = generation
        self._house.generations[generation] = None
        if generation.session:
            self._house.sessions.setdefault(generation.session, {})[generation] = None
        generation.on_end = self._forget

    def _forget(self, generation: Generation) -> None:
        del self._generations[generation.id]
        del self._house.generations[generation]
        if generation.session:
            others = self._house.sessions[generation.session]
            del others[generation]
            if not others:
                del self._house.sessions[generation.session]

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) and not isinstance(exc, WaifuError):
            log.error("a fault of the module", exc_info=exc)


_USES: dict[Capability, Callable[[Request], bool]] = {
    "images": lambda request: any(message.images for message in request.messages),
    "tools": lambda request: bool(request.params.tools),
    "response_format": lambda request: request.params.response_format is not None,
    "top_p": lambda request: request.params.top_p is not None,
    "seed": lambda request: request.params.seed is not None,
    "presence_penalty": lambda request: _penalties(request).presence is not None,
    "frequency_penalty": lambda request: _penalties(request).frequency is not None,
    "repetition_penalty": lambda request: _penalties(request).repetition is not None,
    "prompt": lambda request: request.prompt is not None,
}


def _penalties(request: Request) -> Penalties:
    return request.params.penalties or Penalties()


async def _prepare(request: Request, spec: ProviderSpec) -> Request:
    """As below; where there is much to look through, others are served meanwhile."""
    much = sum(len(message.content or "") for message in request.messages) > _MUCH_TEXT
    return await asyncio.to_thread(_prepared, request, spec) if much else _prepared(request, spec)


def _prepared(request: Request, spec: ProviderSpec) -> Request:
    """The request as this provider should see it, or a refusal: nothing is dropped in silence."""
    if not request.params.model_id:
        raise InvalidModel(
            "No model is named: send `params.model_id`, or ask a profile that names one."
        )
    for capability, uses in _USES.items():
        if capability not in spec.capabilities and uses(request):
            raise Unsupported(f"`{spec.name}` does not take `{capability}`.")
    params = request.params
    messages = names.apply(
        request.messages,
        params.names or "auto",
        params.character_name,
        has_field="names" in spec.capabilities,
    )
    return Request(messages, params, request.stream, request.prompt)
