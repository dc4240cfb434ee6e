"""Puts a worker together and runs it: the same core as a module's, and no door but Redis."""

from __future__ import annotations

import asyncio
import gc
import platform
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from waifu_llm import system
from waifu_llm.closing import Deadline
from waifu_llm.config import Config, ConfigError
from waifu_llm.core import Core, loop_factory
from waifu_llm.paths import Paths
from waifu_llm.workers.link import Link, secrets_of
from waifu_llm.workers.names import Names
from waifu_llm.workers.offers import Offers
from waifu_llm.workers.psylink.config import read_config, url_of
from waifu_llm.workers.psylink.worker import PsylinkWorker
from waifu_llm.workers.worker import Worker

CLOSE_SECONDS = 6.0


class PsylinkModule:
    """A worker of Psylink: the same core, and the lists that its file names."""

    def __init__(self, config: Config, paths: Paths, file: Path) -> None:
        self._core = Core(config, paths)
        told = read_config(file)
        self._core.redactor.learn(told.redis.secrets)
        self._link = Link(url_of(told.redis))
        self._worker = PsylinkWorker(self._core.engine, self._link.redis, told)

    async def run(self, on_ready: Callable[[str], None]) -> None:
        """Work until a signal comes or a command says `drain`, then finish what it has.

        Raises:
            WaifuError: When Redis refuses us, or the model cannot be loaded.
        """
        self._core.begin()
        try:
            if not await self._core.unless_stopped(self._link.reach()):
                return
            ready = partial(on_ready, self._worker.worker_id)
            working = asyncio.create_task(self._worker.run(ready))
            working.add_done_callback(lambda _: self._core.stopping.set())
            await self._core.until_stopped(lambda: None)
            self._worker.drain()
            await working
        finally:
            await _close(self._core, self._link.close())


class FarModule:
    """A worker, from its first look into Redis to its last process ended."""

    def __init__(self, config: Config, paths: Paths) -> None:
        if not config.redis:
            raise ConfigError("Say where the work comes from: --redis redis://HOST:PORT/DB.")
        self._config = config
        self._core = Core(config, paths)
        self._core.redactor.learn(secrets_of(config.redis))
        self._link = Link(config.redis)
        self._worker = Worker(
            self._core.engine,
            self._link,
            Names(config.workers_name),
            self._offers(),
            name=config.worker_name or platform.node() or "worker",
            lease=config.worker_lease_seconds,
        )

    def _offers(self) -> Offers:
        """What is named, else what is installed here and has its key.

        Raises:
            ConfigError: When that is nothing, or a name that is not known.
        """
        core, named = self._core, self._config.offers
        specs = core.catalogue().specs
        for each in named:
            core.catalogue().find(each.partition("/")[0])
        here = [name for name, spec in specs.items() if core.processes.environments.find(spec)]
        if not named and not here:
            raise ConfigError(
                "No provider is installed here: say which are offered, such as --offers llamacpp."
            )
        places = self._config.worker_places
        return Offers(core.engine, named or sorted(here), places, quiet=not named)

    async def run(self, on_ready: Callable[[str], None]) -> None:
        """Work until a signal comes or somebody says `drain`, then finish what it has.

        Raises:
            WaifuError: When Redis refuses us.
        """
        self._core.begin()
        try:
            if not await self._core.unless_stopped(self._worker.open()):
                return
            gc.freeze()
            drained = asyncio.create_task(self._worker.until_drained())
            drained.add_done_callback(lambda _: self._core.stopping.set())
            await self._core.until_stopped(lambda: on_ready(self._worker.id))
            self._worker.drain()
            await drained
        finally:
            await _close(self._core, self._worker.close())


async def _close(core: Core, worker: Coroutine[Any, Any, None]) -> None:
    """The worker's own end beside that of the engine, and then whatever outlives both."""
    closing = Deadline(CLOSE_SECONDS)
    await core.engine.silence()
    await closing.close(worker, core.engine.close())
    await closing.over()
    core.processes.kill()


def run(
    config: Config, paths: Paths, on_ready: Callable[[str], None], psylink: Path | None = None
) -> None:
    """Run a worker until it is drained."""
    system.tighten()

    async def main() -> None:
        if psylink:
            await PsylinkModule(config, paths, psylink).run(on_ready)
        else:
            await FarModule(config, paths).run(on_ready)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())
