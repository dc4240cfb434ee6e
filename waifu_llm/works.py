"""What one client asks of a provider besides answers: embeddings, and models to be fetched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from waifu_llm.backend import Embedded, Progress
from waifu_llm.errors import Interrupted, Timeout, Unsupported
from waifu_llm.loaded import Loaded
from waifu_llm.protocol import Embed, Pull
from waifu_llm.specs import Capability

T = TypeVar("T")


class Work(Generic[T]):
    """One of them, under way."""

    def __init__(self, id: str | None, task: asyncio.Task[T]) -> None:
        self.id = id
        self._task = task

    def stop(self) -> None:
        self._task.cancel()

    async def result(self) -> T:
        """
        Raises:
            Interrupted: When it was stopped.
            WaifuError: When it failed.
        """
        await asyncio.wait([self._task])
        if self._task.cancelled():
            raise Interrupted("Interrupted, as it was asked for.")
        return self._task.result()


class Works:
    """Those of one client."""

    def __init__(
        self, find: Callable[[str | None], Awaitable[Loaded]], answer_seconds: float
    ) -> None:
        self._find = find
        self._answer_seconds = answer_seconds
        self._running: dict[Work[Any], None] = {}

    def embed(self, asked: Embed) -> Work[Embedded]:
        return self._begin(asked.unique_request_id, self._embed(asked))

    def pull(self, asked: Pull, progress: Progress) -> Work[None]:
        return self._begin(asked.unique_request_id, self._pull(asked, progress))

    def stop(self, id: str) -> list[Work[Any]]:
        """Stop what bears this id, and tell what that was."""
        stopped = [work for work in self._running if work.id == id]
        for work in stopped:
            work.stop()
        return stopped

    def leave(self) -> None:
        for work in self._running:
            work.stop()

    def _begin(self, id: str | None, doing: Coroutine[Any, Any, T]) -> Work[T]:
        task = asyncio.create_task(doing)
        work = Work(id, task)
        self._running[work] = None
        task.add_done_callback(lambda _: self._running.pop(work))
        return work

    async def _embed(self, asked: Embed) -> Embedded:
        async with self._holding(asked.provider_name, "embeddings") as loaded:
            try:
                async with loaded.place() as backend, asyncio.timeout(self._answer_seconds):
                    embedded = await backend.embed(asked.model_id, asked.texts)
                    loaded.models_asked.add(asked.model_id)  # now that it is known to be one
                    return embedded
            except TimeoutError:
                raise Timeout(
                    f"No embeddings from `{loaded.spec.name}` in {self._answer_seconds:g} s."
                ) from None

    async def _pull(self, asked: Pull, progress: Progress) -> None:
        """However long it takes: it is up to who asked to stop it."""
        async with self._holding(asked.provider_name, "pull") as loaded:
            await (await loaded.ready()).pull(asked.model_id, progress)

    @asynccontextmanager
    async def _holding(self, provider: str | None, needed: Capability) -> AsyncIterator[Loaded]:
        loaded, holder = await self._find(provider), object()
        if needed not in loaded.spec.capabilities:
            raise Unsupported(f"`{loaded.spec.name}` does not take `{needed}`.")
        loaded.hold(holder)
        try:
            yield loaded
        finally:
            loaded.drop(holder)
