"""Channels over a store and a model that says what a test wants."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import select
from support import LIMIT
from talking_model import Model

from waifu_llm.channels.answering import Answer, Plain
from waifu_llm.channels.opening import Channels
from waifu_llm.chats.instructions import Instructions, Limits
from waifu_llm.chats.opening import open_database
from waifu_llm.chats.tables import metadata
from waifu_llm.chats.transaction import Transaction
from waifu_llm.config import Config

OPEN = "http://127.0.0.1:9/"
"""Where no test asks."""


class Stage:
    """One life of a module, as far as channels see one. The store outlives it."""

    def __init__(self, home: Path, tables: dict[str, dict[str, Any]], store: str = "") -> None:
        self.home = home
        self.model = Model(home)
        self.config = Config(store=store or str(home / "store.db"), channels=tables)
        self.learned: list[str] = []
        self.channels: Channels
        self.instructions: Instructions

    async def open(self, answer: Answer | None = None) -> Stage:
        self.database = await open_database(self.config.store, self.home, owns=True)
        self.instructions = Instructions(self.database, self.model.engine, Limits())
        plain = Plain(self.model.engine)
        self.channels = Channels(self.config, self.database, self.model.engine, answer or plain)
        await self.channels.make(self.learned.extend)
        await self.channels.open()
        return self

    async def close(self) -> None:
        """As the module closes: models fall silent first."""
        await self.model.engine.silence()
        await self.channels.close()
        await self.instructions.close()
        await self.database.close()
        await self.model.engine.close()

    async def die(self) -> None:
        """As a module that is killed: nothing is told that it ends."""
        for opened in self.channels._opened.values():
            await opened.channel.close()
            await opened.conversations.close()
        await self.database.close()

    def channel(self, name: str) -> Any:
        return self.channels._opened[name].channel

    def conversations(self, name: str) -> Any:
        return self.channels._opened[name].conversations

    async def do(self, type: str, **data: Any) -> dict[str, Any]:
        return await self.instructions.carry_out({"type": type, "data": data})

    async def rows(self, table: str) -> list[Any]:
        found = select(metadata.tables[table])
        return list(await self.database.read(lambda connection: Transaction(connection).all(found)))

    async def words(self) -> str:
        """All that is in the store, as one text."""
        return "\n".join([repr(row) for name in metadata.tables for row in await self.rows(name)])

    async def said(self) -> list[tuple[str, str]]:
        return [(row.role, row.content) for row in await self.rows("messages")]


Staged = Callable[..., Awaitable[Stage]]
"""Opens one with these tables."""


async def until(is_so: Callable[[], Awaitable[Any] | Any]) -> Any:
    """Wait for what comes by itself."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        found = is_so()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(f"it never was so: {is_so}")


def json_of(reply: Any) -> Any:
    return msgspec.json.decode(reply.body)
