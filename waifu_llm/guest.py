"""A Guest: somebody who came in by a door. What it loads and starts is its own.

Every door opens a Guest for each of its clients, calls these methods, and sends what comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

from waifu_llm import profiles
from waifu_llm.backend import Request, Running, Sink, Urgency
from waifu_llm.errors import (
    InvalidMessage,
    InvalidModel,
    Unavailable,
    Unexpected,
    Unsupported,
    WaifuError,
)
from waifu_llm.fitted import fitted
from waifu_llm.generation import Generation, Listener, silence
from waifu_llm.holdings import Holding, Holdings
from waifu_llm.house import House
from waifu_llm.loaded import Loaded
from waifu_llm.protocol import Generate
from waifu_llm.tasks import Tasks
from waifu_llm.works import Work, Works


class Guest:
    """What one client holds, and what it has running."""

    def __init__(self, house: House, urgency: Urgency = "live") -> None:
        self._house = house
        self._urgency = urgency
        self._generations: dict[str, Generation] = {}
        self._tasks = Tasks()
        self.holdings = Holdings(house)
        self.works = Works(self.holdings.loaded, house.waits.answer_ms / 1000)

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
        holding = self.holdings.find(asked.provider_name)
        provider = asked.provider_name or (holding.name if holding else "")
        sent = Request(
            asked.messages or [],
            asked.params,
            bool(asked.stream),
            asked.prompt,
            self._urgency,
            bool(asked.helpers),
        )
        request = profiles.apply(self.holdings.profile_of(holding), sent)
        generation = Generation(asked.id, provider, request, listener, asked.session)
        self._register(generation)
        task = self._tasks.start(self._drive(generation, holding, asked.provider_name))
        generation.waits(task.cancel)
        return generation

    async def _drive(
        self, generation: Generation, holding: Holding | None, named: str | None
    ) -> None:
        try:
            if self._house.closing:
                raise Unavailable("The module is shutting down.")
            loaded = await self.holdings.wait_for(holding, named)
            loaded.hold(generation)
            generation.done_by = loaded.spec.name
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
        ask = partial(self._ask, generation, loaded)
        if not generation.request.helpers:
            await ask(generation.request, generation)
        elif self._house.lending:
            await self._house.lending.answer(generation, loaded, ask)
        else:
            raise Unsupported(
                "This module has no helpers. They are there once it serves HTTP, or has a table "
                "`helpers` in its configuration."
            )

    async def _ask(
        self,
        generation: Generation,
        loaded: Loaded,
        sent: Request,
        sink: Sink,
        on_running: Callable[[Running], None] | None = None,
    ) -> None:
        request = await fitted(sent, loaded.spec)
        async with loaded.place() as backend:
            if generation.ended:
                return
            generation.starts(self._house.waits.limits(loaded.spec, request.params, request.stream))
            loaded.models_asked.add(str(request.params.model_id))
            running = backend.generate(request, sink)
            generation.runs(running)
            if on_running:
                on_running(running)
            await running.over
            if generation.final and isinstance(generation.final.error, InvalidModel):
                loaded.models_asked.forget(str(request.params.model_id))
        if generation.silenced_at is not None:
            obeyed = monotonic() - generation.silenced_at
            self._house.metrics.of(loaded.spec.name).interrupts.add(obeyed)

    def is_live(self, id: str | None) -> bool:
        """Whether a generation of this id still runs."""
        return id in self._generations

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
        self.interrupt()
        self.works.leave()
        self.holdings.leave()

    def _register(self, generation: Generation) -> None:
        self._generations[generation.id] = generation
        self._house.register(generation)
        generation.on_end = self._forget

    def _forget(self, generation: Generation) -> None:
        del self._generations[generation.id]
        self._house.forget(generation)
