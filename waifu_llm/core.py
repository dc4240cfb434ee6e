"""What a module and a worker have in common: the engine, and all that it stands on."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from waifu_llm import plugins, profiles, system
from waifu_llm.config import Config
from waifu_llm.engine import Engine
from waifu_llm.paths import Paths, bundled_providers
from waifu_llm.plugins import Catalogue
from waifu_llm.processes import Processes
from waifu_llm.redaction import Redactor, set_up_logging
from waifu_llm.signals import Signals
from waifu_llm.stored import Stored

PARENT_POLL_SECONDS = 1.0
_CANCEL_AGAIN_SECONDS = 0.2

log = logging.getLogger("waifu_llm")


class Core:
    """One process's own. Whoever has it opens doors to it."""

    def __init__(self, config: Config, paths: Paths) -> None:
        self.config = config
        self.paths = paths
        self.redactor = Redactor()
        self.stopping = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self.processes = Processes(config, paths)
        self.stored = Stored(config, paths, lambda: self.catalogue().specs)
        self.engine = Engine(
            config, self.catalogue, self.processes.open, self.redactor, self.stored
        )

    @functools.cached_property
    def _catalogue(self) -> Catalogue:
        paths, disabled = self.paths, self.config.disabled_plugins
        found = plugins.discover(
            bundled_providers(), paths.drop_in_providers, disabled, paths.locks, paths.models
        )
        for name, why in found.broken.items():
            log.warning("plugin %s cannot be used: %s", name, why)
        for name in self.config.providers.keys() - found.specs.keys():
            log.warning("settings are stored for the provider %s, and there is none", name)
        for name, profile in self.stored.profiles.items():
            if profile.provider not in found.specs:
                log.warning("the profile %s is of %s, and there is none", name, profile.provider)
        return found

    def catalogue(self) -> Catalogue:
        return self._catalogue

    def begin(self) -> None:
        """
        Raises:
            ConfigError: When a profile is named like a provider.
        """
        set_up_logging(self.config.log_level, self.redactor)
        if self.stored.profiles:  # else nobody need wait for the catalogue
            profiles.see_no_clash(self.stored.profiles, self.catalogue().specs)

    async def unless_stopped(self, doing: Coroutine[Any, Any, None]) -> bool:
        """Do what may take long before there is anything to be stopped. Whether it was done."""
        self._see_what_stops()
        task, stopped = asyncio.create_task(doing), asyncio.create_task(self.stopping.wait())
        await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not task.done():
            await _end(task)
            return False
        task.result()
        return True

    async def until_stopped(self, on_ready: Callable[[], None]) -> None:
        """A signal stops it, the parent's end, or whoever sets `stopping`."""
        self._see_what_stops()
        on_ready()
        await asyncio.to_thread(self.catalogue)  # ready before the first client asks for it
        self._warn_of_open_keys()
        await self.stopping.wait()
        if self._watch:
            self._watch.cancel()

    def _see_what_stops(self) -> None:
        if self._watch is None:
            Signals(self.stopping, self.processes.kill).catch()
            self._watch = asyncio.create_task(self._watch_parent())

    def _warn_of_open_keys(self) -> None:
        if self.stored.shows_keys(self.catalogue().specs):
            log.warning("others can read %s, and it holds a key: chmod 600", self.paths.config_file)

    async def _watch_parent(self) -> None:
        while self.config.parent_pid and system.process_alive(self.config.parent_pid):
            await asyncio.sleep(PARENT_POLL_SECONDS)
        if self.config.parent_pid:
            self.stopping.set()


async def _end(task: asyncio.Task[None]) -> None:
    """One cancellation may be lost on the way in."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_AGAIN_SECONDS)
    await asyncio.gather(task, return_exceptions=True)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed (the extra `fast`): some tenths less work per chunk."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
