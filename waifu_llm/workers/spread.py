"""A Backend in two places: here, and at the workers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from msgspec import Struct

from waifu_llm.backend import (
    Backend,
    Embedded,
    Progress,
    Request,
    Running,
    Settings,
    Sink,
    Urgency,
)
from waifu_llm.errors import WaifuError
from waifu_llm.workers.places import Places
from waifu_llm.workers.roll import is_among

log = logging.getLogger("waifu_llm.workers")

At = Literal["workers", "here", "here first"]


class Here:
    """A generation that waits for a place on this machine, and then has it."""

    def __init__(
        self, places: Places, urgency: Urgency, sink: Sink, start: Callable[[], Running]
    ) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running: Running | None = None
        self._sink = sink
        self._task = asyncio.create_task(self._do(places, urgency, start))
        self._task.add_done_callback(lambda _: self.over.set_result(None))

    async def _do(self, places: Places, urgency: Urgency, start: Callable[[], Running]) -> None:
        self._sink.still_waits()
        async with places.place(urgency):
            self._sink.begins()
            self._running = start()
            await self._running.over

    def interrupt(self) -> None:
        if self._running:
            self._running.interrupt()
        else:
            self._task.cancel()


class Plan(Struct, frozen=True):
    """Of one provider."""

    at: Callable[[str | None], At]
    """Where a model is to run."""
    offered: Callable[[], Sequence[str]]
    """Which models workers name."""
    some_stay: bool
    """Whether one of its models is to run on this machine and nowhere else."""


class Spread:
    """Goes by a plan, and by what is there."""

    def __init__(self, here: Backend, far: Backend, places: int, plan: Plan) -> None:
        self._here = here
        self._far = far
        self._places = Places(places)
        self._free = places
        """Less than nothing where some wait for a place here."""
        self._plan = plan
        self._models_here: list[str] = []
        self._is_here = True
        """Whether this machine could load it."""

    @property
    def alive(self) -> bool:
        return self._far.alive and (self._here.alive or not self._is_here)

    @property
    def ended(self) -> bool:
        """What is at workers needs no process here."""
        return self._here.ended

    async def load(self, settings: Settings, model_id: str | None, progress: Progress) -> list[str]:
        """Workers load what they are asked for when that comes, and what cannot be loaded here."""
        is_ours = self._plan.at(model_id) == "here"
        try:
            found = await self._here.load(settings, model_id if is_ours else None, progress)
        except WaifuError as error:
            if is_ours or self._plan.some_stay:
                raise
            log.warning("what cannot be loaded here is left to workers: %s", error.message)
            self._is_here = False
            return await self._far.load(settings, model_id, progress)
        self._models_here = found
        if model_id and not is_ours:
            await self.preload(model_id)
        return self._everywhere()

    async def preload(self, model_id: str) -> None:
        await self._for(model_id).preload(model_id)

    async def models(self) -> list[str]:
        if not self._is_here:
            return await self._far.models()
        self._models_here = await self._here.models()
        return self._everywhere()

    async def embed(self, model_id: str, texts: list[str]) -> Embedded:
        return await self._for(model_id).embed(model_id, texts)

    async def pull(self, model_id: str, progress: Progress) -> None:
        """To this machine, though workers may have it: they were not asked to run it first."""
        if not self._is_here or self._plan.at(model_id) == "workers":
            await self._far.pull(model_id, progress)
            return
        await self._here.pull(model_id, progress)
        self._models_here = await self._here.models()

    def generate(self, request: Request, sink: Sink) -> Running:
        at = self._at(request.params.model_id)
        if at == "workers" or (at == "here first" and self._free < 1):
            return self._far.generate(request, sink)
        self._free -= 1
        start = partial(self._here.generate, request, sink)
        running = Here(self._places, request.urgency, sink, start)
        running.over.add_done_callback(self._leave)
        return running

    async def close(self) -> None:
        await asyncio.gather(self._here.close(), self._far.close())

    def status(self) -> dict[str, Any]:
        return {**self._here.status(), "at": "here and workers", "far": self._far.status()}

    def _leave(self, _: object) -> None:
        self._free += 1

    def _for(self, model_id: str) -> Backend:
        return self._far if self._at(model_id) == "workers" else self._here

    def _at(self, model: str | None) -> At:
        """What only workers have is theirs."""
        if not self._is_here:
            return "workers"
        at = self._plan.at(model)
        return "workers" if at == "here first" and self._is_only_theirs(model) else at

    def _is_only_theirs(self, model: str | None) -> bool:
        is_offered = model is not None and model in self._plan.offered()
        return is_offered and not is_among(model or "", self._models_here)

    def _everywhere(self) -> list[str]:
        far = [model for model in self._plan.offered() if self._at(model) == "workers"]
        return list(dict.fromkeys([*self._models_here, *far]))
