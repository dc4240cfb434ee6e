"""One try of a worker at one errand, from when it took it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from waifu_llm.backend import Result, Running
from waifu_llm.engine import Engine
from waifu_llm.errors import Interrupted, Unexpected, WaifuError
from waifu_llm.guest import Guest
from waifu_llm.holdings import Asked
from waifu_llm.loaded import Loaded
from waifu_llm.wire import Done, Progressed, ProviderFailure
from waifu_llm.workers.events import Event
from waifu_llm.workers.mouth import Entry, Mouth

_ALIAS = "errand"
_SOON_SECONDS = 0.05


class Run:
    """Also the Sink of its generation."""

    def __init__(self, engine: Engine, mouth: Mouth, entry: Entry, worker: str) -> None:
        self.id = secrets.token_hex(6)
        self.entry = entry
        self._is_ready = False
        """Whether the provider has it: before that, it waits to be loaded."""
        self._said_that_it_waits = False
        self.alone_since: float | None = None
        """When its module was missed first."""
        self.flush = mouth.flush
        self._engine = engine
        self._mouth = mouth
        self._worker = worker
        self._errand = entry.errand
        self._number = 0
        self._task: asyncio.Task[Any] | None = None
        self._running: Running | None = None
        self._last: Event | None = None
        self._stopped: WaifuError | None = None
        """Why, where it was."""
        self._is_lost = False

    @property
    def has_failed(self) -> bool:
        return self._last is None or self._last.error is not None

    async def do(self) -> None:
        """However it ends, that is said; but not of one that another worker has now."""
        self._say(taken=self._worker, attempt=self.entry.attempt)
        self.flush()
        self._task = asyncio.current_task()
        waiting = asyncio.get_running_loop().call_later(_SOON_SECONDS, self.still_waits)
        try:
            await self._do()
        except WaifuError as error:
            self.failed(error)
        except asyncio.CancelledError:
            if not self._stopped:
                self._is_lost = True  # the worker ends: another one does this
                raise
            self.failed(self._stopped)
        except Exception as exc:
            self.failed(Unexpected(f"A fault of the worker: {exc!r}. Please report it."))
            raise
        finally:
            waiting.cancel()
            if not self._is_lost:
                self._mouth.finish(self.entry, self._last)

    async def _do(self) -> None:
        guest = self._engine.enter(client=False)
        try:
            await self._as_guest(guest)
        finally:
            self._engine.leave(guest)

    async def _as_guest(self, guest: Guest) -> None:
        errand, source = self._errand, self._errand.source
        asked = Asked(
            source.provider, source.settings, errand.model_id, alias=_ALIAS, key=source.key
        )
        progress = self._tell if errand.op == "load" else None
        await guest.holdings.load(asked, progress)
        loaded = await guest.holdings.loaded(_ALIAS)
        if errand.op == "generate":
            await self._generate(loaded)
        else:
            done = await self._others()[errand.op](loaded)
            self.done(done)

    async def _generate(self, loaded: Loaded) -> None:
        assert self._errand.request is not None
        async with loaded.place() as backend:
            self.begins()
            self._running = backend.generate(self._errand.request, self)
            if self._stopped:
                self._running.interrupt()
            await asyncio.shield(self._running.over)
            self.failed(self._stopped or Interrupted("Interrupted."))  # where it said no end

    def _others(self) -> dict[str, Callable[[Loaded], Awaitable[Done]]]:
        return {
            "load": self._models,
            "preload": self._models,
            "models": self._models,
            "embed": self._embed,
            "pull": self._pull,
        }

    async def _models(self, loaded: Loaded) -> Done:
        """To load it is what makes it ready; that was done."""
        return Done(models=loaded.known_models)

    async def _embed(self, loaded: Loaded) -> Done:
        errand = self._errand
        async with loaded.place() as backend:
            embedded = await backend.embed(errand.model_id or "", errand.texts or [])
        return Done(embeddings=embedded.vectors, usage=embedded.usage)

    async def _pull(self, loaded: Loaded) -> Done:
        backend = await loaded.ready()
        for model in self._errand.texts or []:
            await backend.pull(model, self._tell)
        return Done(models=await backend.models())

    # What is said of it

    def still_waits(self) -> None:
        """A load may take long; who waits for it is told that it goes on."""
        if not self._is_ready:
            self._said_that_it_waits = True
            self._say(waits=True)
            self.flush()

    def begins(self) -> None:
        """What is mostly so at once need not be said."""
        self._is_ready = True
        if self._said_that_it_waits:
            self._say(begins=True)
            self.flush()

    def chunk(self, text: str) -> None:
        self._say(chunk=text)

    def reasoning(self, text: str) -> None:
        self._say(reasoning=text)

    def done(self, result: Result) -> None:
        if self._stopped:  # a part is not the whole
            self.failed(self._stopped)
            return
        done = result if isinstance(result, Done) else Done(**_fields(result))
        self._last = self._event(done=done)

    def failed(self, error: WaifuError) -> None:
        """The first end counts."""
        failure = ProviderFailure(error.code, error.message, error.retry_after_ms)
        self._last = self._last or self._event(error=failure)

    def _tell(self, phase: str, fraction: float, message: str) -> None:
        self._say(progress=Progressed(fraction, message))
        self.flush()

    def _say(self, **what: Any) -> None:
        if not self._is_lost:
            self._mouth.say(self._errand.back, self._event(**what))

    def _event(self, **what: Any) -> Event:
        self._number += 1
        return Event(self._errand.id, self.id, self._number, **what)

    # Its end

    def stop(self, why: WaifuError | None = None) -> None:
        """Somebody asked for silence, or nobody listens."""
        self._stopped = why or Interrupted("Interrupted, as it was asked for.")
        if self._running:
            self._running.interrupt()
        elif self._task:
            self._task.cancel()

    def lose(self) -> None:
        """Another worker has it now, or nobody waits for it: nothing more is said of it."""
        self._is_lost = True
        self.stop()


def _fields(result: Result) -> dict[str, Any]:
    return {name: getattr(result, name) for name in Result.__struct_fields__}
