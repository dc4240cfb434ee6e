"""A Backend in two places: here, and at the workers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Literal

from waifu_llm.backend import Backend, Embedded, Progress, Request, Running, Settings, Sink
from waifu_llm.errors import WaifuError

log = logging.getLogger("waifu_llm.workers")

At = Callable[[str | None], Literal["workers", "here", "here first"]]


class Here:
    """A generation that waits for a place on this machine, and then has it."""

    def __init__(self, places: asyncio.Semaphore, sink: Sink, start: Callable[[], Running]) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running: Running | None = None
        self._sink = sink
        self._task = asyncio.create_task(self._do(places, start))
        self._task.add_done_callback(lambda _: self.over.set_result(None))

    async def _do(self, places: asyncio.Semaphore, start: Callable[[], Running]) -> None:
        self._sink.still_waits()
        async with places:
            self._sink.begins()
            self._running = start()
            await self._running.over

    def interrupt(self) -> None:
        if self._running:
            self._running.interrupt()
        else:
            self._task.cancel()


class Spread:
    """`at` says for a model where it is to run, `offered` which models workers name."""

    def __init__(
        self, here: Backend, far: Backend, places: int, at: At, offered: Callable[[], list[str]]
    ) -> None:
        self._here = here
        self._far = far
        self._places = asyncio.Semaphore(places)
        self._free = places
        """Less than nothing where some wait for a place here."""
        self._wanted_at = at
        self._offered = offered
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
        stays = self._wanted_at(model_id) == "here"
        try:
            found = await self._here.load(settings, model_id if stays else None, progress)
        except WaifuError as error:
            if stays:
                raise
            log.warning("what cannot be loaded here is left to workers: %s", error.message)
            self._is_here = False
            return await self._far.load(settings, model_id, progress)
        self._models_here = found
        if model_id and not stays:
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
        await self._for(model_id).pull(model_id, progress)

    def generate(self, request: Request, sink: Sink) -> Running:
        at = self._at(request.params.model_id)
        if at == "workers" or (at == "here first" and self._free < 1):
            return self._far.generate(request, sink)
        self._free -= 1
        running = Here(self._places, sink, lambda: self._here.generate(request, sink))
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

    def _at(self, model: str | None) -> Literal["workers", "here", "here first"]:
        """What only workers have is theirs."""
        at = self._wanted_at(model)
        if at != "here first":
            return at
        is_missing = model in self._offered() and model not in self._models_here
        return "workers" if is_missing or not self._is_here else at

    def _everywhere(self) -> list[str]:
        far = [model for model in self._offered() if self._at(model) == "workers"]
        return list(dict.fromkeys([*self._models_here, *far]))
