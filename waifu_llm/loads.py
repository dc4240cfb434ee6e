"""Loaded things: a provider with its settings, key and address, shared by all who asked alike.

A Loaded starts its backend when somebody holds it, starts another when that one has died (but not
for ever), lets in as many generations as the provider takes, and is freed a while after the last
holder left.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from msgspec import Struct

from waifu_llm.backend import Backend, Progress
from waifu_llm.errors import Busy, Overloaded, ProviderCrashed, Timeout, Unavailable
from waifu_llm.metrics import Metrics
from waifu_llm.redaction import Redactor
from waifu_llm.restarts import Restarts
from waifu_llm.specs import ProviderSpec
from waifu_llm.tasks import Tasks, is_ending

OpenBackend = Callable[[ProviderSpec, Mapping[str, Any], Progress], Awaitable[Backend]]
"""Makes a Backend that is not loaded yet: `app.py` says how."""

_RETRY_AFTER_MS = 1_000
_MODELS_REMEMBERED = 16


class Place(Struct, frozen=True):
    """Where a thing is to run, when that is not in a process of this machine alone."""

    name: str
    """Things at places of two names are two things."""
    open: OpenBackend
    concurrency: int
    needs_settings: bool
    """Whether it is loaded with what is stored here."""


class LoadLimits(Struct, frozen=True):
    """How much may be loaded, run and wait."""

    cloud_concurrency: int
    max_waiting: int
    max_waiting_each: int
    idle_seconds: float
    load_seconds: float
    max_loaded: int

    def concurrency(self, spec: ProviderSpec) -> int:
        """How many generations at once a provider takes."""
        return spec.concurrency or (self.cloud_concurrency if spec.kind == "cloud" else 1)


class Waiting:
    """Counts generations that wait, of all things together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0


class Loaded:
    """One thing that is loaded, or being loaded."""

    def __init__(
        self,
        spec: ProviderSpec,
        settings: Mapping[str, Any],
        open_backend: OpenBackend,
        limits: LoadLimits,
        waiting: Waiting,
        on_idle: Callable[[Loaded], None],
        concurrency: int,
        on_death: Callable[[], None],
    ) -> None:
        self.spec = spec
        self.settings = settings
        self.known_models: list[str] = []
        self._models_asked: dict[str, None] = {}
        """Of the process that runs now, the last one last."""
        self._open_backend = open_backend
        self._limits = limits
        self._all_waiting = waiting
        self._waiting = 0
        self._on_idle = on_idle
        self._holders: dict[object, None] = {}
        self._listeners: dict[object, Progress] = {}
        self._loading: asyncio.Task[Backend] | None = None
        self._loads = Tasks()
        self._backends: list[Backend] = []
        self._restarts = Restarts(on_death=on_death)
        self._wanted_model: str | None = None
        self._closing = Tasks()
        self._idle_timer: asyncio.TimerHandle | None = None
        self.concurrency = concurrency
        self._places = asyncio.Semaphore(self.concurrency)

    # Holding

    @property
    def is_held(self) -> bool:
        return bool(self._holders)

    def hold(self, holder: object) -> None:
        self._holders[holder] = None
        if self._idle_timer:
            self._idle_timer.cancel()
            self._idle_timer = None

    def drop(self, holder: object) -> None:
        """Who drops it last starts the clock; a load that nobody waits for ends at once."""
        self._holders.pop(holder, None)
        if self._holders or self._idle_timer:
            return
        self.give_up()
        loop = asyncio.get_running_loop()
        self._idle_timer = loop.call_later(self._limits.idle_seconds, self._on_idle, self)

    def give_up(self) -> None:
        """End a load that is under way."""
        if self._loading and not self._loading.done():
            self._loading.cancel()
            self._loading = None

    # Loading

    @property
    def backend(self) -> Backend | None:
        """What can take a request now."""
        if self._loading is None or not self._loading.done() or _failure(self._loading):
            return None
        backend = self._loading.result()
        return backend if backend.alive else None

    @property
    def state(self) -> str:
        if self._restarts.given_up_for:
            return "crash_loop"
        if self._loading is None:
            return "new"
        if not self._loading.done():
            return "loading"
        return "ready" if self.backend else "failed"

    async def ready(self, model_id: str | None = None, progress: Progress | None = None) -> Backend:
        """The backend, loaded, with this model ready. A dead one is replaced.

        Raises:
            WaifuError: Whatever keeps it from loading.
        """
        backend = self.backend or await self._wait_until_loaded(model_id, progress)
        if model_id and model_id != self._wanted_model:
            await backend.preload(model_id)
            self._wanted_model = model_id
        if model_id:
            self.note_model(model_id)
        return backend

    def note_model(self, model_id: str) -> None:
        """This one was asked for."""
        asked = self._models_asked
        asked.pop(model_id, None)
        asked[model_id] = None
        if len(asked) > _MODELS_REMEMBERED:
            del asked[next(iter(asked))]

    @property
    def last_model(self) -> str | None:
        return next(reversed(self._models_asked), None)

    async def _wait_until_loaded(self, model_id: str | None, progress: Progress | None) -> Backend:
        """Several who wait share one loading."""
        if self._loading is None or self._loading.done():
            self._see_whether_it_died()
            self._wanted_model = model_id or self._wanted_model
            self._loading = self._loads.start(self._load())
        loading, listener = self._loading, object()
        if progress:
            self._listeners[listener] = progress
        try:
            return await asyncio.shield(loading)
        except asyncio.CancelledError:
            if is_ending():
                raise
            raise Unavailable(f"The load of `{self.spec.name}` was given up.") from None
        finally:
            self._listeners.pop(listener, None)

    def _see_whether_it_died(self) -> None:
        """
        Raises:
            ProviderCrashed: When it has died too often to be started again.
        """
        if self._loading and not _failure(self._loading):
            self._loading = None
            self._restarts.note_death()
        self._restarts.refuse(self.spec.name)

    async def _load(self) -> Backend:
        await asyncio.sleep(self._restarts.pause())
        self._backends = [each for each in self._backends if not each.ended]
        try:
            return await self._open()
        except ProviderCrashed:
            self._restarts.note_death()
            raise

    async def _open(self) -> Backend:
        backend = await self._open_backend(self.spec, self.settings, self._tell)
        self._backends.append(backend)
        self._models_asked.clear()
        self._tell("load", 0.0, f"Loading {self.spec.title}.")
        try:
            async with asyncio.timeout(self._limits.load_seconds):
                model_id = self._wanted_model
                self.known_models = await backend.load(self.settings, model_id, self._tell)
        except TimeoutError:
            self._closing.start(backend.close())
            seconds = self._limits.load_seconds
            raise Timeout(f"`{self.spec.name}` did not load within {seconds:g} s.") from None
        except BaseException:
            self._wanted_model = None
            self._closing.start(backend.close())  # who waits for the load need not wait for it
            raise
        return backend

    def _tell(self, phase: str, fraction: float, message: str) -> None:
        for listener in list(self._listeners.values()):
            listener(phase, fraction, message)

    # Generating

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Backend]:
        """A place to generate at, with a backend that is ready. Waits for both.

        Raises:
            Overloaded: At once, when too many wait already.
            WaifuError: When it cannot be loaded.
        """
        with self._waiting_line():
            await self.ready()
            await self._places.acquire()
        try:
            yield await self.ready()
        finally:
            self._places.release()

    @contextmanager
    def _waiting_line(self) -> Iterator[None]:
        if self.backend and not self._places.locked():
            yield
            return
        everyone = self._all_waiting
        if self._waiting >= self._limits.max_waiting_each or everyone.count >= everyone.limit:
            raise Overloaded(
                f"{self._waiting} requests wait for `{self.spec.name}` already. "
                "Try again when some of them are answered.",
                retry_after_ms=_RETRY_AFTER_MS,
            )
        self._waiting += 1
        everyone.count += 1
        try:
            yield
        finally:
            self._waiting -= 1
            everyone.count -= 1

    # Its end

    async def close(self) -> None:
        if self._idle_timer:
            self._idle_timer.cancel()
        self._loads.cancel()
        await self._loads.over()
        await asyncio.gather(self._closing.over(), *(each.close() for each in self._backends))

    def status(self) -> dict[str, Any]:
        backend = self.backend
        return {
            "provider": self.spec.name,
            "kind": self.spec.kind,
            "state": self.state,
            "models": len(self.known_models),
            "models_asked": list(self._models_asked),
            "holders": len(self._holders),
            "waiting": self._waiting,
            "concurrency": self.concurrency,
            **(backend.status() if backend else {}),
        }


def _failure(task: asyncio.Task[Backend]) -> bool:
    return task.cancelled() or task.exception() is not None


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
            is_meant = each.spec.name == provider and each.last_model == model_id
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
