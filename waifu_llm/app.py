"""Puts the module together and runs it. The only file that knows every room."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from waifu_llm import system
from waifu_llm.closing import Deadline
from waifu_llm.config import Config
from waifu_llm.core import Core, loop_factory
from waifu_llm.doors.token import read_token
from waifu_llm.doors.trust import see_that_it_is_protected
from waifu_llm.doors.websocket import WebSocketDoor
from waifu_llm.extras import needed
from waifu_llm.jobs.runner import Jobs
from waifu_llm.jobs.shelf import Shelf
from waifu_llm.paths import Paths

if TYPE_CHECKING:
    from waifu_llm.chats.opening import Chats
    from waifu_llm.doors.rabbitmq import RabbitDoor
    from waifu_llm.helpers.opening import Helpers
    from waifu_llm.rabbitmq.address import Address
    from waifu_llm.workers.fleet import Fleet

CLOSE_SECONDS = 6.0
"""The process is over two seconds later, whatever else there is to be undone."""
FIRST_SECONDS = 2.0


class Module:
    """The whole module, from its first door opened to its last process ended."""

    def __init__(self, config: Config, paths: Paths) -> None:
        see_that_it_is_protected(config)
        self._config = config
        self._core = Core(config, paths)
        self._engine = self._core.engine
        token = read_token(config, paths)
        self._core.redactor.learn([token])
        self._jobs = Jobs(self._engine, config, Shelf(paths.assistants))
        self._chats: Chats | None = None
        self._rabbitmq: RabbitDoor | None = None
        self._fleet: Fleet | None = None
        self._helpers: Helpers | None = None
        self._door = WebSocketDoor(
            self._engine, self._jobs, config, token, self.stop, self._status_of_doors
        )

    def stop(self) -> None:
        """Close: everybody gets a final, every process ends."""
        self._core.stopping.set()

    async def run(self, on_listening: Callable[[str], None]) -> None:
        """Serve until `stop`, a signal, or the parent's end.

        Raises:
            OSError: When the address cannot be listened at.
            WaifuError: When a setting cannot be, or the store cannot be used.
        """
        self._core.begin()
        try:
            port = await self._open()
            gc.freeze()  # what is there now stays: no collection need look at it again
            await self._core.until_stopped(lambda: on_listening(_url(self._config, port)))
        finally:
            await self._close()

    async def _open(self) -> int:
        """What can fail comes before anything is begun: a start that fails is no try of a job."""
        broker = self._broker()
        await self._open_fleet()
        await self._open_store()
        self._open_helpers()
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
        helpers = [self._helpers.close()] if self._helpers else []
        store = [self._chats.close()] if self._chats else []
        fleet = [self._fleet.close()] if self._fleet else []
        await closing.close(self._door.close(), self._engine.close(), *helpers, *store, *fleet)
        await closing.over()
        self._core.processes.kill()

    async def _open_fleet(self) -> None:
        """
        Raises:
            WaifuError: When their Redis refuses us, or what it needs is not installed.
        """
        if not self._config.workers:
            return
        with needed("redis", f"`workers` (from {self._config.source('workers')})"):
            from waifu_llm.workers.fleet import Fleet
            from waifu_llm.workers.link import Link, secrets_of
            from waifu_llm.workers.where import Where

        self._core.redactor.learn(secrets_of(self._config.workers))
        self._fleet = Fleet.of(Link(self._config.workers), self._config)
        await self._fleet.open()
        here = self._core.processes.open
        self._engine.goes_elsewhere(Where(self._fleet, self._config, here))

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

            self._core.redactor.learn(address.secrets_of(self._config.store))
            self._chats = await Chats.open(self._config, self._core.paths.home, self._engine)
            self._door.instructions = self._chats.instructions

    def _open_helpers(self) -> None:
        """
        Raises:
            ConfigError: When a table is wrong, or what they need is not installed.
        """
        if not self._config.helpers:
            return
        with needed("http", "A table `helpers` of the configuration"):
            from waifu_llm.helpers.opening import Helpers

        self._helpers = Helpers(self._config, self._core.paths, self._engine, self._core.redactor)
        self._helpers.open()

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
            self._core.redactor.learn(address.secrets)
            return address

    def _open_rabbitmq(self, broker: Address) -> None:
        from waifu_llm.doors.rabbitmq import RabbitDoor

        assert self._chats  # whoever sets one has the other
        self._rabbitmq = RabbitDoor(self._chats.instructions, broker, self._config)
        self._rabbitmq.open()

    def _status_of_doors(self) -> Mapping[str, Any]:
        doors = {"rabbitmq": self._rabbitmq, "workers": self._fleet, "helpers": self._helpers}
        return {name: door.status() for name, door in doors.items() if door}


def run(config: Config, paths: Paths, on_listening: Callable[[str], None]) -> None:
    """Run the module until it is closed."""
    system.tighten()

    async def main() -> None:
        await Module(config, paths).run(on_listening)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())


def _url(config: Config, port: int) -> str:
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"{'wss' if config.tls_cert else 'ws'}://{host}:{port}"
