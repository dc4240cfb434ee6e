"""A Backend in two places: here, and at the workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

from waifu_llm.backend import Backend, Embedded, Progress, Request, Running, Settings, Sink

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
    """`at` says for a model where it is to run."""

    def __init__(self, here: Backend, far: Backend, places: int, at: At) -> None:
        self._here = here
        self._far = far
        self._places = asyncio.Semaphore(places)
        self._free = places
        """Less than nothing where some wait for a place here."""
        self._at = at

    @property
    def alive(self) -> bool:
        return self._here.alive and self._far.alive

    @property
    def ended(self) -> bool:
        return self._here.ended and self._far.ended

    async def load(self, settings: Settings, model_id: str | None, progress: Progress) -> list[str]:
        """Workers load what they are asked for when that comes."""
        at = self._at(model_id)
        found = await self._here.load(settings, None if at == "workers" else model_id, progress)
        if model_id and at == "workers":
            await self._far.preload(model_id)
        return found

    async def preload(self, model_id: str) -> None:
        await self._for(model_id).preload(model_id)

    async def models(self) -> list[str]:
        return await self._here.models()

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
