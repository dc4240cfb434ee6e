"""One worker: its model loaded, its prompts taken, its commands obeyed, until it is drained."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any

import msgspec
from redis.asyncio import Redis

from waifu_llm.engine import Engine
from waifu_llm.errors import InvalidMessage, WaifuError
from waifu_llm.version import __version__
from waifu_llm.workers.outages import Outages
from waifu_llm.workers.psylink.commands import obey
from waifu_llm.workers.psylink.config import PsylinkConfig, changed
from waifu_llm.workers.psylink.messages import (
    Output,
    Parked,
    answer_to,
    failure_of,
    park,
    read_command,
)
from waifu_llm.workers.psylink.model import Model, make_plan
from waifu_llm.workers.psylink.prompts import Prompts
from waifu_llm.workers.psylink.queues import CommandQueue, PromptQueue, Taken

_BEATS_PER_LEASE = 3
_LEAVE_SECONDS = 2.0
_LOOKS_EVERY_SECONDS = 1.0


class PsylinkWorker:
    """Takes from the lists of one Redis, whose answers must come as bytes, not decoded."""

    def __init__(self, engine: Engine, redis: Redis, config: PsylinkConfig) -> None:
        place, self._config = config.redis, config
        self.worker_id = config.properties.worker_id or f"{platform.node()}-{os.getpid()}"
        self._engine = engine
        self._limit = engine.config.max_message_bytes
        self._guest = engine.enter(client=False)
        self._prompt_queue = PromptQueue(redis, place, self.worker_id)
        self._command_queue = CommandQueue(redis, place, self.worker_id)
        self._outages = Outages()
        self._draining = False
        self._turned = asyncio.Event()
        """Set by whatever makes another look at the prompts worth while."""
        self._started = time.monotonic()
        self._model: Model
        self._prompts: Prompts
        self._places = 0

    # Its life

    async def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Work until it is drained.

        Raises:
            WaifuError: When the model cannot be loaded.
        """
        try:
            await self._prepare()
            on_ready()
            await self._work()
        finally:
            self._engine.leave(self._guest)

    async def _prepare(self) -> None:
        plan = await make_plan(self._engine, self._config)
        self._places = self._engine.concurrency(plan.spec)
        self._model = Model(self._guest, plan)
        self._prompts = Prompts(
            self._prompt_queue, self._model, self._outages, self.worker_id, self._limit
        )
        await self._model.load()

    async def _work(self) -> None:
        loops = [self._take_prompts(), self._keep_the_lease(), self._obey_commands()]
        tasks = [asyncio.create_task(each) for each in loops]
        try:
            await self._until_over(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await self._prompts.stop()
            await asyncio.wait(tasks)
            await self._leave()
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def _until_over(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        """Until it is drained, or one of them failed. A Redis that stays away then is not waited
        for longer than a lease: others have its prompts by that time."""
        done, away = set[asyncio.Task[None]](), 0.0
        while not done and away < self._config.properties.lease_seconds:
            done, _ = await asyncio.wait(
                tasks, timeout=_LOOKS_EVERY_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            is_away = self._draining and self._outages.trouble
            away = away + _LOOKS_EVERY_SECONDS if is_away else 0.0

    async def _leave(self) -> None:
        """Where Redis cannot be told now, the lease runs out, and others find what is in hand."""
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self._outages.through(self._prompt_queue.leave)
        except TimeoutError:
            pass

    # What it does, again and again

    async def _take_prompts(self) -> None:
        """Ends when it is drained."""
        while not self._draining:
            self._turned.clear()
            self._prompts.changed.clear()
            if not self._may_take():
                await _until_either(self._prompts.changed.wait(), self._turned.wait())
            elif not await self._prompts.take(self._config.properties, self._may_take):
                await _until_either(self._prompt_queue.wait(self._outages), self._turned.wait())
        await self._prompts.over()

    def _may_take(self) -> bool:
        has_place = len(self._prompts) < self._places
        goes_on = not self._draining and not self._engine.closing
        return has_place and goes_on and self._model.loaded

    async def _keep_the_lease(self) -> None:
        while True:
            properties = self._config.properties
            expiry, lease = properties.expiry_seconds, properties.lease_seconds
            await self._prompts.keep(lease)
            await self._outages.through(partial(self._prompt_queue.tidy, expiry))
            await self._outages.through(partial(self._command_queue.tidy, expiry))
            self._outages.tell(None)  # whoever met with one may have been cut off since
            self._prompt_queue.look_anew()
            self._command_queue.look_anew()
            await asyncio.sleep(lease / _BEATS_PER_LEASE)

    async def _obey_commands(self) -> None:
        """One after the other, as they came."""
        while True:
            found = await self._outages.through(self._command_queue.find)
            if found:
                await self._obey(found)
            else:
                await self._command_queue.wait(self._outages)

    async def _obey(self, taken: Taken) -> None:
        output, parked = await self._answer(taken)
        expiry = self._config.properties.expiry_seconds
        settle = partial(self._command_queue.settle, taken, expiry, output, parked)
        await self._outages.through(settle)

    async def _answer(self, taken: Taken) -> tuple[Output | None, Parked | None]:
        """What is heard of a command, and what is put aside. One that is old is neither."""
        try:
            command = read_command(taken.raw, self._limit)
        except WaifuError as error:
            return None, park(taken.raw, self.worker_id, error, taken.now, self._limit)
        if taken.taken - command.timestamp > self._config.properties.expiry_seconds:
            return None, None
        try:
            said = await obey(self, command.input)
        except WaifuError as error:
            return failure_of(command, self.worker_id, error, taken.now), None
        return answer_to(command, self.worker_id, said, taken.now), None

    # What it can be told

    def drain(self) -> None:
        """Finish what it has, and take no more."""
        self._draining = True
        self._turned.set()

    def status(self) -> dict[str, Any]:
        """What an operator wants to see."""
        properties, model = self._config.properties, self._model
        return {
            "worker_id": self.worker_id,
            "version": __version__,
            "state": self._state,
            "provider": model.plan.asked.provider,
            "model": model.name,
            "running": len(self._prompts),
            "places": self._places,
            "answered": self._prompts.answered,
            "failed": self._prompts.failed,
            "min_priority": properties.min_priority,
            "max_priority": properties.max_priority,
            "uptime_seconds": round(time.monotonic() - self._started, 3),
            "trouble": self._outages.trouble,
        }

    @property
    def _state(self) -> str:
        if self._draining:
            return "draining"
        return "ready" if self._model.loaded else "unloaded"

    async def set_config(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Change how prompts are answered, and which are taken. Returns what holds now.

        Raises:
            WaifuError: Why nothing was changed.
        """
        config = changed(self._config, args)
        plan = await make_plan(self._engine, config)
        if plan.asked != self._model.plan.asked:
            raise InvalidMessage(
                "How the model is loaded holds from the worker's start on: start it anew."
            )
        self._config, self._model.plan = config, plan
        self._turned.set()
        properties = msgspec.structs.replace(config.properties, worker_id=self.worker_id)
        return {"llama_params": config.llama_params, "properties": msgspec.to_builtins(properties)}

    async def load(self) -> None:
        """
        Raises:
            WaifuError: Whatever keeps the model from loading.
        """
        await self._model.load()
        self._turned.set()

    def unload(self) -> None:
        """Take no more, and give the model back. What runs goes on to its end."""
        self._model.unload()


async def _until_either(*waits: Coroutine[Any, Any, object]) -> None:
    tasks = [asyncio.create_task(each) for each in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        task.result()
