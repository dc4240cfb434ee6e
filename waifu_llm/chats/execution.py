"""Carries out one instruction that was read.

What changes something is one transaction: the effect, the record of it, and the answer for whoever
sends it again. A model is asked outside of any.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from waifu_llm.asking import Closing, ask
from waifu_llm.chats import answering, answers, keeping, records
from waifu_llm.chats.answering import Wanted
from waifu_llm.chats.database import Database, StoreAway
from waifu_llm.chats.order import SHORT, Order
from waifu_llm.chats.outcomes import Answer, failure, success
from waifu_llm.chats.transaction import AnyRow, Outcome, Transaction
from waifu_llm.engine import Engine
from waifu_llm.errors import WaifuError
from waifu_llm.turns import Turns
from waifu_llm.whole import OnChunk

T = TypeVar("T")
Named = dict[int, bool]
Afterwards = Callable[[], Awaitable[object]]
BeforeKeeping = Callable[[], None]
"""Called with the whole answer there; may raise, and nothing is kept. What comes later is late."""
log = logging.getLogger("waifu_llm.chats")
NOT_NOW = (Closing, StoreAway)
"""What is no answer: nothing was done, and whoever keeps the instruction may try again."""
_OWN_KEY_SECONDS = 300.0
_SCRUBBED = ("USER_DELETE", "CHAT_DELETE", "USER_INSTRUCTION_RECORDS_DELETE")


class Limits(Struct, frozen=True):
    """How much goes to a model, and how long an answer is kept for who asks again."""

    max_history_messages: int = 200
    answers_kept_seconds: float = 86_400.0


class _Found(Struct, frozen=True):
    """What a model is to be asked, and in which chat."""

    chat: int
    order: Order


class Execution:
    """What all of them share."""

    def __init__(self, database: Database, engine: Engine, limits: Limits) -> None:
        self._database = database
        self._engine = engine
        self._limits = limits
        self._chats = Turns()
        """Answers in one chat are given strictly one after the other."""
        self._finding = Turns()
        """So that they wait for their chat in the order that they came."""

    # What changes nothing

    async def look(self, order: Order) -> Answer:
        """It may be done again; but whether a user has it recorded is told by nothing else. What it
        found is nobody's to keep: it may be of users and chats that are deleted later."""
        named: Named = {}

        async def work(transaction: Transaction) -> Outcome:
            transaction.named = named
            return await SHORT[order.type].handler(order.data, transaction, self._engine)

        try:
            answer = success(*await self.read(work))
        except NOT_NOW:
            raise
        except WaifuError as error:
            answer = failure(error)
        if any(named.values()):
            kept = answers.without_what_it_told(answer)
            await self._finish_alone(order, named, kept, keep=True)
        return answer

    # What is done in one transaction

    async def change(self, order: Order) -> Answer:
        entry = SHORT[order.type]
        if entry.keeps_key and (known := await self._known(order)):
            return known
        named: Named = {}
        keeping = entry.keeps_key or _no_key
        try:
            async with keeping(order.data, order.key, self._database, self._engine) as kept_key:
                answer, afterwards = await self._store(order, named, kept_key)
        except NOT_NOW:
            raise
        except WaifuError as error:
            return await self._refuse(order, named, error)
        await self._tidy(order, afterwards)
        return answer

    async def _tidy(self, order: Order, afterwards: list[Afterwards]) -> None:
        """It is done, whatever comes of this."""
        try:
            for each in afterwards:
                await each()
            if order.type in _SCRUBBED:
                await self._database.scrub()
        except Exception as exc:
            log.warning("something is left over of a %s: %r", order.type, exc)

    async def _store(
        self, order: Order, named: Named, kept_key: str | None
    ) -> tuple[Answer, list[Afterwards]]:
        async def work(transaction: Transaction) -> Outcome:
            transaction.kept_key = kept_key
            return await SHORT[order.type].handler(order.data, transaction, self._engine)

        return await self._once(order, named, work)

    # What a model answers

    async def ask(
        self, order: Order, on_chunk: OnChunk | None, before_keeping: BeforeKeeping
    ) -> Answer:
        named: Named = {}
        try:
            async with self._finding.turn(answering.said_place(order.data)):
                found = await self._find(order, named)
            if not isinstance(found, _Found):
                return found
            async with self._chats.turn(found.chat):
                return await self._ask_and_keep(found.order, named, on_chunk, before_keeping)
        except NOT_NOW:
            raise
        except WaifuError as error:
            return await self._refuse(order, named, error)

    async def _find(self, order: Order, named: Named) -> Answer | _Found:
        """The answer that it got already, else the chat that it is for."""

        async def work(transaction: Transaction) -> Answer | _Found:
            if order.key and (known := await answers.find(transaction, order.key)):
                return known
            transaction.named = named
            chat, user = await answering.chat_of(order.data, transaction)
            return _Found(chat.number, _of_user(order, user))

        return await self.read(work)

    async def _ask_and_keep(
        self,
        order: Order,
        named: Named,
        on_chunk: OnChunk | None,
        before_keeping: BeforeKeeping,
    ) -> Answer:
        async def look(transaction: Transaction) -> Wanted:
            return await answering.look(order.data, transaction, self._limits.max_history_messages)

        wanted = await self.read(look)
        text = await ask(self._engine, wanted.asked, wanted.messages, wanted.params, on_chunk)
        before_keeping()

        async def keep(transaction: Transaction) -> Outcome:
            return await keeping.keep(wanted, transaction, text)

        answer, _ = await self._once(order, named, keep)
        return answer

    # All of it or nothing, and once

    async def _once(
        self, order: Order, named: Named, work: Callable[[Transaction], Awaitable[Outcome]]
    ) -> tuple[Answer, list[Afterwards]]:
        async def whole(
            transaction: Transaction,
        ) -> tuple[Answer, list[Afterwards]]:
            if order.key and (known := await answers.find(transaction, order.key)):
                return known, []
            transaction.named = named
            answer = success(*await work(transaction))
            await self._finish(order, transaction, answer, keep=True)
            return answer, transaction.afterwards

        return await self.write(whole)

    async def _finish(
        self, order: Order, transaction: Transaction, answer: Answer, *, keep: bool
    ) -> None:
        if order.is_recorded:
            await records.record(transaction, order.type, order.said, answer["status"])
        if order.key and keep:
            seconds = self._limits.answers_kept_seconds if order.has_sender else _OWN_KEY_SECONDS
            await answers.keep(transaction, order.key, answer, seconds)

    async def _finish_alone(
        self, order: Order, named: Named, answer: Answer, *, keep: bool
    ) -> None:
        async def work(transaction: Transaction) -> None:
            transaction.named = named
            if not order.key or not await answers.find(transaction, order.key):
                await self._finish(order, transaction, answer, keep=keep)

        await self.write(work)

    async def _refuse(self, order: Order, named: Named, error: WaifuError) -> Answer:
        """What it did is undone. Whoever sends it again hears the same, unless it may go better."""
        answer = failure(error)
        keep = order.has_sender and not error.retryable
        if keep or any(named.values()):
            await self._finish_alone(order, named, answer, keep=keep)
        return answer

    async def _known(self, order: Order) -> Answer | None:
        key = order.key
        return await self.read(lambda transaction: answers.find(transaction, key)) if key else None

    async def read(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        return await self._database.read(lambda connection: work(Transaction(connection)))

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        return await self._database.write(lambda connection: work(Transaction(connection)))


def _of_user(order: Order, user: AnyRow | None) -> Order:
    """By the id: while it waits for its turn, the name may become somebody else's."""
    if user is None:
        return order
    data = msgspec.structs.replace(order.data, user_id=user.id, username=None)
    return msgspec.structs.replace(order, data=data)


@asynccontextmanager
async def _no_key(*_: Any) -> AsyncIterator[None]:
    yield None
