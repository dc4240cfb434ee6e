"""Opens the channels that the configuration names. One that cannot be opened costs only itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from msgspec import Struct, structs

from waifu_llm.channels import kinds, tables
from waifu_llm.channels.answering import Answer
from waifu_llm.channels.calls import refusal
from waifu_llm.channels.channel import Channel, Incoming, Reply, Route
from waifu_llm.channels.conversations import ChannelConversations
from waifu_llm.channels.desk import Desk
from waifu_llm.channels.making import Learn, make
from waifu_llm.channels.store import Store
from waifu_llm.channels.tables import Table
from waifu_llm.chats.database import Database
from waifu_llm.config import Config, ConfigError
from waifu_llm.engine import Engine
from waifu_llm.errors import InvalidProvider, Unavailable, WaifuError

log = logging.getLogger("waifu_llm.channels")


class Opened(Struct):
    """One channel that is there."""

    kind: str
    channel: Channel
    conversations: ChannelConversations
    is_open: bool = False


class Channels:
    """All of a module's."""

    def __init__(self, config: Config, database: Database, engine: Engine, answer: Answer) -> None:
        self._config = config
        self._engine = engine
        self._answer = answer
        self._store = Store(database, engine, config.max_history_messages)
        self._places = asyncio.Semaphore(config.channels_at_once)
        self._opened: dict[str, Opened] = {}
        self._failed: dict[str, str] = {}

    async def make(self, learn: Learn) -> None:
        """All of them, and nothing is begun. `learn` is told every secret, before any is used.

        Raises:
            ConfigError: When a table says what cannot be, or a secret or an extra is missing.
        """
        specs = self._engine.catalogue().channels
        for table in tables.read(self._config.channels):
            kinds.find(table, specs)
            self._see_that_it_is_answered(table)
            try:
                await self._make(table, learn)
            except ConfigError:
                raise
            except WaifuError as error:
                self._fail(table.name, error.message)

    async def open(self) -> None:
        """Hear people, and take up what the last life left."""
        for name, opened in self._opened.items():
            await self._open(name, opened)

    async def close(self) -> None:
        """After the engine fell silent. What is under way is in the store."""
        await asyncio.gather(*map(self._close, self._opened.values()))

    def routes(self) -> list[Route]:
        """What the HTTP door hands to channels."""
        return [
            structs.replace(route, handle=partial(_handle, each, route))
            for each in self._opened.values()
            for route in each.channel.routes()
        ]

    def status(self) -> Mapping[str, Any]:
        told: dict[str, Any] = {}
        for name, each in self._opened.items():
            state = {"kind": each.kind, "state": "open" if each.is_open else "failed"}
            told[name] = {**state, **each.conversations.status(), **each.channel.status()}
        for name, why in self._failed.items():
            told.setdefault(name, {"kind": "", "state": "failed"})["last_trouble"] = why
        return told

    def _see_that_it_is_answered(self, table: Table) -> None:
        persona, place = table.persona, f"[channels.{table.name}]"
        try:
            self._engine.find(persona.provider)
        except InvalidProvider as error:
            raise ConfigError(f"In {place}: {error.message}") from None
        profile = self._engine.stored.profiles.get(persona.provider)
        if not persona.model and not (profile and profile.model):
            raise ConfigError(
                f"In {place}: `model` is missing, and `{persona.provider}` is no profile that "
                "names one."
            )

    async def _make(self, table: Table, learn: Learn) -> None:
        channel = await make(table, self._engine.catalogue().channels, self._engine.stored, learn)
        desk = Desk(channel, table.persona, table.limits, self._store, self._answer, self._places)
        self._opened[table.name] = Opened(table.kind, channel, ChannelConversations(desk))

    async def _open(self, name: str, opened: Opened) -> None:
        try:
            await opened.conversations.open()
            await opened.channel.open(opened.conversations)
            opened.is_open = True
            opened.conversations.begin()
        except (WaifuError, OSError) as error:
            await self._give_up(opened, str(error))
        except Exception as exc:  # a stranger's channel may raise anything
            await self._give_up(opened, f"It does not open: {exc!r}.")

    async def _give_up(self, opened: Opened, why: str) -> None:
        """What of it is open already is closed: nothing is heard that nobody answers."""
        self._fail(opened.channel.name, why)
        await self._close(opened)

    def _fail(self, name: str, why: str) -> None:
        log.error("channel %s is not there: %s", name, why)
        self._failed[name] = why

    async def _close(self, opened: Opened) -> None:
        try:
            await opened.channel.close()
        except Exception as exc:  # as above
            log.error("channel %s does not close: %r", opened.channel.name, exc)
        await opened.conversations.close()


async def _handle(opened: Opened, route: Route, incoming: Incoming) -> Reply:
    """Whoever comes before it is open, or when it could not be opened, may come again."""
    if opened.is_open:
        return await route.handle(incoming)
    return refusal(Unavailable(f"The channel `{opened.channel.name}` is not open."), 503)
