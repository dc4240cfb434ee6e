"""The rooms of a module that a setting opens. Each is imported only where it is wanted."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from waifu_llm.config import ConfigError
from waifu_llm.core import Core
from waifu_llm.extras import needed

if TYPE_CHECKING:
    from waifu_llm.channels.opening import Channels
    from waifu_llm.chats.opening import Chats
    from waifu_llm.helpers.opening import Helpers
    from waifu_llm.workers.fleet import Fleet


class Rooms:
    """Open them before the doors."""

    def __init__(self, core: Core) -> None:
        self.fleet: Fleet | None = None
        self.chats: Chats | None = None
        self.helpers: Helpers | None = None
        self.channels: Channels | None = None
        self._core = core
        self._config = core.config
        self._engine = core.engine

    async def open(self) -> None:
        """
        Raises:
            WaifuError: When a setting cannot be, or what it needs is not there.
        """
        await self._open_fleet()
        await self._open_store()
        self._open_helpers()
        await self._make_channels()

    def closings(self) -> list[Coroutine[Any, Any, None]]:
        """What is to be closed once the models are silent; but for channels, who come before."""
        rooms = self.helpers, self.chats, self.fleet
        return [room.close() for room in rooms if room]

    def status(self) -> Mapping[str, Any]:
        rooms = {"workers": self.fleet, "helpers": self.helpers, "channels": self.channels}
        return {name: room.status() for name, room in rooms.items() if room}

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
        self.fleet = Fleet.of(Link(self._config.workers), self._config)
        await self.fleet.open()
        here = self._core.processes.open
        self._engine.goes_elsewhere(Where(self.fleet, self._config, here))

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
            self.chats = await Chats.open(self._config, self._core.paths.home, self._engine)

    def _open_helpers(self) -> None:
        """
        Raises:
            ConfigError: When a table is wrong, or what they need is not installed.
        """
        if not self._config.helpers and self._config.http_port < 0:
            return
        with needed("http", "HTTP, and a table `helpers` of the configuration,"):
            from waifu_llm.helpers.opening import Helpers

        self.helpers = Helpers(self._config, self._core.paths, self._engine, self._core.redactor)
        self.helpers.open()

    async def _make_channels(self) -> None:
        """
        Raises:
            ConfigError: When a table says what cannot be, or what it needs is not there.
        """
        if not self._config.channels:
            return
        if not self.chats:
            raise ConfigError(
                "Channels keep their conversations in the store, and there is none: set `store`, "
                "or `--store sqlite`."
            )
        from waifu_llm.channels.answering import Plain
        from waifu_llm.channels.opening import Channels

        answer = Plain(self._engine)
        self.channels = Channels(self._config, self.chats.database, self._engine, answer)
        await self.channels.make(self._core.redactor.learn)
