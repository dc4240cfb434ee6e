"""Loaded things, over a backend that does what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from support import LIMIT

from waifu_llm.backend import Progress
from waifu_llm.loaded import Loaded
from waifu_llm.specs import ProviderSpec


class FakeBackend:
    """Loads when its gate is open."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.alive = True
        self.ended = False
        self.entered = asyncio.Event()
        self.closed = asyncio.Event()

    async def load(self, settings: Mapping[str, Any], model_id: str | None, progress: Progress):
        self.entered.set()
        self.model_id = model_id
        await self._shop.gate.wait()
        progress("load", 1.0, "Loaded.")
        if self._shop.errors:
            raise self._shop.errors.pop()
        return ["model"]

    async def preload(self, model_id: str) -> None:
        self.model_id = model_id
        if self._shop.errors:
            raise self._shop.errors.pop()

    async def close(self) -> None:
        self.alive = False
        self.closed.set()

    def status(self) -> dict[str, Any]:
        return {"pid": 7}


class Shop:
    """Opens backends, and keeps them all."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.errors: list[Exception] = []
        self.backends: list[FakeBackend] = []
        self.opened = asyncio.Event()

    async def open(self, spec: ProviderSpec, settings: Mapping[str, Any], progress: Progress):
        self.backends.append(FakeBackend(self))
        self.opened.set()
        return self.backends[-1]

    async def entered(self) -> FakeBackend:
        """The backend that loads now."""
        async with asyncio.timeout(LIMIT):
            await self.opened.wait()
            await self.backends[-1].entered.wait()
        return self.backends[-1]


def spec(name: str = "fake", **declared: Any) -> ProviderSpec:
    return ProviderSpec(name=name, title="Fake", entry="provider:Fake", **declared)


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


class User:
    """Somebody who takes a place and stays until told to leave."""

    def __init__(self, loaded: Loaded, log: list[Any], name: Any) -> None:
        self._leave = asyncio.Event()
        self._task = asyncio.create_task(self._stay(loaded, log, name))

    async def _stay(self, loaded: Loaded, log: list[Any], name: Any) -> Any:
        async with loaded.place() as backend:
            log.append(name)
            await self._leave.wait()
        return backend

    async def leave(self) -> Any:
        self._leave.set()
        async with asyncio.timeout(LIMIT):
            return await self._task

    async def give_up(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
