"""The chat store, as channels use it: transactions, with the engine that its handlers ask for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from waifu_llm.chats.database import Database
from waifu_llm.chats.transaction import Transaction
from waifu_llm.engine import Engine

T = TypeVar("T")


class Store:
    """One that is open."""

    def __init__(self, database: Database, engine: Engine, most_messages: int) -> None:
        self.engine = engine
        self.most_messages = most_messages
        """Of what was said before, that go to a model."""
        self._database = database

    async def read(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        return await self._database.read(lambda connection: work(Transaction(connection)))

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        return await self._database.write(lambda connection: work(Transaction(connection)))

    async def write_once(
        self,
        work: Callable[[Transaction], Awaitable[T]],
        is_done: Callable[[Transaction], Awaitable[bool]],
    ) -> T:
        """What is not to be done twice. A commit may have come through though it seems to have
        failed: so another try asks first whether it `is_done`."""
        told: list[T] = []

        async def once(transaction: Transaction) -> T:
            if not (told and await is_done(transaction)):
                told.append(await work(transaction))
            return told[-1]

        return await self.write(once)
