"""Puts the module together and runs it: its rooms, its doors, its jobs."""

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
from waifu_llm.rooms import Rooms
from waifu_llm.specs import ProviderSpec

if TYPE_CHECKING:
    from waifu_llm.doors.http.routes import Route
    from waifu_llm.doors.http.server import HttpDoor
    from waifu_llm.doors.rabbitmq import RabbitDoor
    from waifu_llm.rabbitmq.address import Address

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
        self._token = token = read_token(config, paths)
        self._core.redactor.learn([token])
        self._jobs = Jobs(self._engine, config, Shelf(paths.assistants))
        self._rooms = Rooms(self._core)
        self._rabbitmq: RabbitDoor | None = None
        self._http: HttpDoor | None = None
        self._door = WebSocketDoor(
            self._engine, self._jobs, config, token, self.stop, self._status_of_doors
        )

    def stop(self) -> None:
        """Close: everybody gets a final, every process ends."""
        self._core.stopping.set()

    async def run(self, on_listening: Callable[[list[str]], None]) -> None:
        """Serve until `stop`, a signal, or the parent's end.

        Raises:
            OSError: When the address cannot be listened at.
            WaifuError: When a setting cannot be, or the store cannot be used.
        """
        self._core.begin()
        try:
            urls = await self._open()
            gc.freeze()  # what is there now stays: no collection need look at it again
            await self._core.until_stopped(lambda: on_listening(urls))
        finally:
            await self._close()

    async def _open(self) -> list[str]:
        """What can fail comes before anything is begun: a start that fails is no try of a job.
        Returns where it listens."""
        broker = self._broker()
        await self._rooms.open()
        chats = self._rooms.chats
        self._door.instructions = chats.instructions if chats else None
        urls = await self._open_doors()
        await self._jobs.open(chats.job_store if chats else None)
        if self._rooms.channels:
            await self._rooms.channels.open()
        await self._door.let_in()
        if self._http:
            await self._http.let_in()
        if broker:
            self._open_rabbitmq(broker)
        return urls

    async def _close(self) -> None:
        """All of it has the same few seconds, from the moment that it was to stop."""
        closing = Deadline(CLOSE_SECONDS)
        if self._http:
            self._http.is_leaving = True
        # Before models are silenced: what they were asked goes on another time.
        first = [self._jobs.close(), *([self._rabbitmq.close()] if self._rabbitmq else ())]
        await closing.close(*first, within=FIRST_SECONDS)
        if self._http:
            self._http.take_no_more()
        await self._engine.silence()
        if channels := self._rooms.channels:
            await closing.close(channels.close(), within=FIRST_SECONDS)
        doors = [self._door.close(), *([self._http.close()] if self._http else ())]
        await closing.close(*doors, self._engine.close(), *self._rooms.closings())
        await closing.over()
        self._core.processes.kill()

    async def _open_doors(self) -> list[str]:
        """
        Raises:
            OSError: When an address cannot be listened at.
            WaifuError: When a setting cannot be, or what it needs is not installed.
        """
        config = self._config
        if config.http_port < 0:
            return [_url(config, "ws", await self._door.open())]
        self._http = self._make_http()
        if config.http_port != config.port or config.port == 0:
            ports = [await self._door.open(), await self._http.open()]
        else:
            self._door.other = self._http.connection
            ports = 2 * [await self._door.open()]
            self._http.know_port(ports[1])
        return [_url(config, *each) for each in zip(("ws", "http"), ports, strict=True)]

    def _make_http(self) -> HttpDoor:
        """
        Raises:
            ConfigError: When what it needs is not installed.
        """
        with needed("http", f"`http_port` (from {self._config.source('http_port')})"):
            from waifu_llm.doors.http.opening import http_door

        return http_door(
            self._engine,
            self._config,
            self._token,
            self._status,
            self._is_installed,
            self._more_routes(),
        )

    def _more_routes(self) -> list[Route]:
        """Those of rooms that are open."""
        rooms = self._rooms
        assert rooms.helpers  # open wherever this door is
        from waifu_llm.doors.http.helper_routes import HelperRoutes

        routes = HelperRoutes(rooms.helpers.requests, self._config).routes()
        if rooms.chats:
            from waifu_llm.doors.http.instruction_routes import InstructionRoutes

            routes += InstructionRoutes(rooms.chats.instructions).routes()
        if rooms.channels:
            from waifu_llm.doors.http.channel_routes import channel_routes

            routes += channel_routes(rooms.channels.routes())
        return routes

    def _is_installed(self, spec: ProviderSpec) -> bool:
        return self._core.processes.environments.find(spec) is not None

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

        assert self._rooms.chats  # whoever sets one has the other
        self._rabbitmq = RabbitDoor(self._rooms.chats.instructions, broker, self._config)
        self._rabbitmq.open()

    def _status(self) -> Mapping[str, Any]:
        of_jobs = {"jobs": self._jobs.status()}
        return {**self._engine.status(), **of_jobs, **self._status_of_doors()}

    def _status_of_doors(self) -> Mapping[str, Any]:
        rabbitmq = {"rabbitmq": self._rabbitmq.status()} if self._rabbitmq else {}
        return {**rabbitmq, **self._rooms.status()}


def run(config: Config, paths: Paths, on_listening: Callable[[list[str]], None]) -> None:
    """Run the module until it is closed."""
    system.tighten()

    async def main() -> None:
        await Module(config, paths).run(on_listening)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())


def _url(config: Config, scheme: str, port: int) -> str:
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"{scheme}{'s' if config.tls_cert else ''}://{host}:{port}"
