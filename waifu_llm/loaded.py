"""A loaded thing: a provider with its settings, key and address.

It starts its backend when somebody holds it, starts another when that one has died (but not for
ever), lets in as many generations as the provider takes, and is freed a while after the last holder
left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from msgspec import Struct

from waifu_llm.backend import Backend, Progress
from waifu_llm.errors import Overloaded, ProviderCrashed, Timeout, Unavailable
from waifu_llm.recent import Recent
from waifu_llm.restarts import Restarts
from waifu_llm.specs import ProviderSpec
from waifu_llm.tasks import Tasks, is_ending

OpenBackend = Callable[[ProviderSpec, Mapping[str, Any], Progress], Awaitable[Backend]]
"""Makes a Backend that is not loaded yet: `app.py` says how."""

_RETRY_AFTER_MS = 1_000
_MODELS_REMEMBERED = 16


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
        self.models_asked = Recent(_MODELS_REMEMBERED)
        """Those that the process which runs now was asked for."""
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
            self.models_asked.add(model_id)
        return backend

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
        self.models_asked.clear()
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
            "models_asked": list(self.models_asked),
            "holders": len(self._holders),
            "waiting": self._waiting,
            "concurrency": self.concurrency,
            **(backend.status() if backend else {}),
        }


def _failure(task: asyncio.Task[Backend]) -> bool:
    return task.cancelled() or task.exception() is not None
