"""Puts the module together and runs it. The only file that knows every room."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from waifu_llm import plugins, profiles, system
from waifu_llm.closing import Deadline
from waifu_llm.config import Config
from waifu_llm.doors.token import read_token
from waifu_llm.doors.trust import see_that_it_is_protected
from waifu_llm.doors.websocket import WebSocketDoor
from waifu_llm.engine import Engine
from waifu_llm.extras import needed
from waifu_llm.jobs.runner import Jobs
from waifu_llm.jobs.shelf import Shelf
from waifu_llm.paths import Paths, bundled_providers
from waifu_llm.plugins import Catalogue
from waifu_llm.processes import Processes
from waifu_llm.redaction import Redactor, set_up_logging
from waifu_llm.signals import Signals
from waifu_llm.stored import Stored

if TYPE_CHECKING:
    from waifu_llm.chats.opening import Chats
    from waifu_llm.doors.rabbitmq import RabbitDoor
    from waifu_llm.rabbitmq.address import Address

PARENT_POLL_SECONDS = 1.0
CLOSE_SECONDS = 6.0
"""The process is over two seconds later, whatever else there is to be undone."""
FIRST_SECONDS = 2.0

log = logging.getLogger("waifu_llm")


class Module:
    """The whole module, from its first door opened to its last process ended."""

    def __init__(self, config: Config, paths: Paths) -> None:
        see_that_it_is_protected(config)
        self._config = config
        self._paths = paths
        self._redactor = Redactor()
        self._stop = asyncio.Event()
        self._processes = Processes(config, paths)
        self._stored = Stored(config, paths, lambda: self.catalogue().specs)
        self._engine = Engine(
            config, self.catalogue, self._processes.open, self._redactor, self._stored
        )
        token = read_token(config, paths)
        self._redactor.learn([token])
        self._jobs = Jobs(self._engine, config, Shelf(paths.assistants))
        self._chats: Chats | None = None
        self._rabbitmq: RabbitDoor | None = None
        self._door = WebSocketDoor(
            self._engine, self._jobs, config, token, self.stop, self._status_of_doors
        )

    @functools.cached_property
    def _catalogue(self) -> Catalogue:
        paths, disabled = self._paths, self._config.disabled_plugins
        found = plugins.discover(
            bundled_providers(), paths.drop_in_providers, disabled, paths.locks, paths.models
        )
        for name, why in found.broken.items():
            log.warning("plugin %s cannot be used: %s", name, why)
        for name in self._config.providers.keys() - found.specs.keys():
            log.warning("settings are stored for the provider %s, and there is none", name)
        for name, profile in self._stored.profiles.items():
            if profile.provider not in found.specs:
                log.warning("the profile %s is of %s, and there is none", name, profile.provider)
        return found

    def catalogue(self) -> Catalogue:
        return self._catalogue

    def stop(self) -> None:
        """Close: everybody gets a final, every process ends."""
        self._stop.set()

    async def run(self, on_listening: Callable[[str], None]) -> None:
        """Serve until `stop`, a signal, or the parent's end.

        Raises:
            OSError: When the address cannot be listened at.
            WaifuError: When a setting cannot be, or the store cannot be used.
        """
        set_up_logging(self._config.log_level, self._redactor)
        if self._stored.profiles:  # else nobody need wait for the catalogue
            profiles.see_no_clash(self._stored.profiles, self.catalogue().specs)
        try:
            port = await self._open()
            Signals(self._stop, self._processes.kill).catch()
            watch = asyncio.create_task(self._watch_parent())
            on_listening(_url(self._config, port))
            await asyncio.to_thread(self.catalogue)  # ready before the first client asks for it
            self._warn_of_open_keys()
            gc.freeze()  # what is there now stays: no collection need look at it again
            await self._stop.wait()
            watch.cancel()
        finally:
            await self._close()

    async def _open(self) -> int:
        """What can fail comes before anything is begun: a start that fails is no try of a job."""
        broker = self._broker()
        await self._open_store()
        port = await self._door.open()
        await self._jobs.open(self._chats.job_store if self._chats else None)
        await self._door.let_in()
        if broker:
            self._open_rabbitmq(broker)
        return port

    async def _close(self) -> None:
        """All of it has the same few seconds, from the moment that it was to stop."""
        closing = Deadline(CLOSE_SECONDS)
        # Before models are silenced: what they were asked goes on another time.
        first = [self._jobs.close(), *([self._rabbitmq.close()] if self._rabbitmq else ())]
        await closing.close(*first, within=FIRST_SECONDS)
        await self._engine.silence()
        store = [self._chats.close()] if self._chats else []
        await closing.close(self._door.close(), self._engine.close(), *store)
        await closing.over()
        self._processes.kill()

    async def _open_store(self) -> None:
        """
        Raises:
            WaifuError: When it cannot be used, or what it needs is not installed.
        """
        if not self._config.store:
            return
        with needed("chats", f"`store` (from {self._config.source('store')})"):
            from waifu_llm.chats import address
            from waifu_llm.chats.opening import Chats

            self._redactor.learn(address.secrets_of(self._config.store))
            self._chats = await Chats.open(self._config, self._paths.home, self._engine)
            self._door.instructions = self._chats.instructions

    def _broker(self) -> Address | None:
        """
        Raises:
            ConfigError: When it has no address, or what it needs is not installed.
        """
        if not self._config.rabbitmq:
            return None
        with needed("rabbitmq", f"`rabbitmq` (from {self._config.source('rabbitmq')})"):
            import waifu_llm.doors.rabbitmq  # noqa: F401  it is there, then
            from waifu_llm.rabbitmq.address import read_address

            address = read_address(self._config.rabbitmq, os.environ)
            self._redactor.learn(address.secrets)
            return address

    def _open_rabbitmq(self, broker: Address) -> None:
        from waifu_llm.doors.rabbitmq import RabbitDoor

        assert self._chats  # whoever sets one has the other
        self._rabbitmq = RabbitDoor(self._chats.instructions, broker, self._config)
        self._rabbitmq.open()

    def _warn_of_open_keys(self) -> None:
        if self._stored.shows_keys(self.catalogue().specs):
            log.warning(
                "others can read %s, and it holds a key: chmod 600", self._paths.config_file
            )

    def _status_of_doors(self) -> Mapping[str, Any]:
        return {"rabbitmq": self._rabbitmq.status()} if self._rabbitmq else {}

    async def _watch_parent(self) -> None:
        while self._config.parent_pid and system.process_alive(self._config.parent_pid):
            await asyncio.sleep(PARENT_POLL_SECONDS)
        if self._config.parent_pid:
            self.stop()


def run(config: Config, paths: Paths, on_listening: Callable[[str], None]) -> None:
    """Run the module until it is closed."""
    system.tighten()

    async def main() -> None:
        await Module(config, paths).run(on_listening)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())


def _url(config: Config, port: int) -> str:
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"{'wss' if config.tls_cert else 'ws'}://{host}:{port}"


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed (the extra `fast`): some tenths less work per chunk."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
