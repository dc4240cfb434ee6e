"""Instructions: fetched by a door, decoded (order.py), executed and stored (execution.py).

    users.py, records.py, chats.py, providers.py, llms.py     what is done in one transaction
    answering.py, keeping.py                                  what a model is asked for

Whoever gives an instruction a key may send it again: it is done once, and the answer is the same.
That answer is stored in the transaction that did it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from waifu_llm.asking import Closing
from waifu_llm.chats import answering, answers, inbox
from waifu_llm.chats.database import Database, StoreAway
from waifu_llm.chats.execution import NOT_NOW, BeforeKeeping, Execution, Limits
from waifu_llm.chats.gathering import Gathering
from waifu_llm.chats.inbox import Accepted, Values, Waiting
from waifu_llm.chats.order import LONG, SHORT, decode, unkeepable
from waifu_llm.chats.outcomes import Answer, failure
from waifu_llm.chats.transaction import Transaction
from waifu_llm.engine import Engine
from waifu_llm.errors import Unexpected, WaifuError
from waifu_llm.tasks import Tasks
from waifu_llm.whole import OnChunk

__all__ = ["Accepted", "Closing", "Instructions", "Limits", "StoreAway", "Waiting"]

_TICK = 1e-6
"""Apart enough for a database to tell two times."""

log = logging.getLogger("waifu_llm.chats")


class Instructions:
    """Carries them out. Those of one key that come together are one."""

    def __init__(self, database: Database, engine: Engine, limits: Limits) -> None:
        self._database = database
        self._execution = Execution(database, engine, limits)
        self._under_way: dict[str, _Shared] = {}
        self._tasks = Tasks()
        self._last_accepted = 0.0
        self._arriving: Gathering[Values] = Gathering(self._put_in)
        self._leaving: Gathering[str] = Gathering(self._take_out)
        self._closed = False

    def is_long(self, instruction: Mapping[str, Any]) -> bool:
        """Whether a model is asked, which may take minutes."""
        type = instruction.get("type")
        return isinstance(type, str) and type in LONG

    def unkeepable(self, instruction: Mapping[str, Any]) -> WaifuError | None:
        """Why it cannot be accepted, to be answered later."""
        return unkeepable(instruction)

    async def carry_out(
        self,
        instruction: Mapping[str, Any],
        *,
        key: str | None = None,
        on_chunk: OnChunk | None = None,
        before_keeping: BeforeKeeping = lambda: None,
    ) -> Answer:
        """The answer: `status`, `message`, `data`. What is wrong with an instruction is said in it.

        Who stops waiting for a long one ends it, and nothing of it is kept, unless
        `before_keeping` was called already; a short one is done whether or not anybody waits.

        Raises:
            Closing, StoreAway: When the module shuts down before the end, or the database cannot be
                used: nothing was done. Whoever keeps the instruction may give it again later.
        """
        if self._closed:
            raise Closing("The module is shutting down.")
        shared = self._under_way.get(key) if key else None
        if shared is None or shared.is_given_up:
            work = self._tasks.start(self._answer(instruction, key, on_chunk, before_keeping))
            shared = _Shared(work, ends_alone=not self.is_long(instruction))
            if key:
                self._remember(key, shared)
        return await shared.wait()

    def _remember(self, key: str, shared: _Shared) -> None:
        def forget(_: object) -> None:
            if self._under_way.get(key) is shared:
                del self._under_way[key]

        self._under_way[key] = shared
        shared.work.add_done_callback(forget)

    async def close(self) -> None:
        """What is under way is done first. What models say has been ended by the engine."""
        self._closed = True
        await self._tasks.over()

    # Accepted now, answered later

    async def accept(
        self, instruction: Mapping[str, Any], key: str, reply: Mapping[str, str]
    ) -> Waiting:
        """Keep it until `answered`, also over the end of the module. It is not carried out by this.

        Raises:
            WaifuError: When the database cannot be used: it may not have been accepted.
        """
        waiting = await self._execution.read(
            lambda transaction: _waiting(transaction, key, instruction)
        )
        at = self._last_accepted = max(time.time(), self._last_accepted + _TICK)
        await self._arriving.put(inbox.row(waiting, instruction, reply, at))
        return waiting

    async def unanswered(self, besides: Collection[str], limit: int) -> list[Waiting]:
        """The oldest that were accepted, and whose answer has not reached its sender for certain,
        but for those that are known already."""
        most = len(besides) + limit
        found = await self._execution.read(lambda transaction: inbox.oldest(transaction, most))
        return [each for each in found if each.key not in besides][:limit]

    async def accepted(self, key: str) -> Accepted | None:
        """What was accepted, as it is now: a user that it named may have been deleted since. None
        when it was answered meanwhile."""
        return await self._execution.read(lambda transaction: inbox.find(transaction, key))

    async def answered(self, key: str) -> None:
        """The answer has reached its sender. It is kept a while longer, should that ask again."""
        await self._leaving.put(key)

    async def _put_in(self, rows: Sequence[Values]) -> None:
        await self._execution.write(lambda transaction: inbox.put(transaction, rows))

    async def _take_out(self, keys: Sequence[str]) -> None:
        await self._execution.write(lambda transaction: inbox.take_out(transaction, keys))

    async def forget_old(self) -> None:
        """Answers that nobody asks for any more."""
        await self._execution.write(answers.forget_old)

    async def _answer(
        self,
        instruction: Mapping[str, Any],
        key: str | None,
        on_chunk: OnChunk | None,
        before_keeping: BeforeKeeping,
    ) -> Answer:
        try:
            order = decode(instruction, key or self._own_key(), has_sender=key is not None)
            if order.type in LONG:
                return await self._execution.ask(order, on_chunk, before_keeping)
            if SHORT[order.type].reads_only:
                return await self._execution.look(order)
            return await self._execution.change(order)
        except NOT_NOW:
            raise
        except WaifuError as error:
            return failure(error)
        except Exception as exc:
            log.error("a fault of the module", exc_info=exc)
            return failure(Unexpected(f"A fault of the module: {type(exc).__name__}."))

    def _own_key(self) -> str | None:
        """Where it cannot be known whether a commit came through, the next try looks for this."""
        return f"own {secrets.token_hex(16)}" if self._database.doubts_commits else None


async def _waiting(transaction: Transaction, key: str, instruction: Mapping[str, Any]) -> Waiting:
    """One that names what is not there waits for nobody: it is refused when it is looked at."""
    try:
        order = decode(instruction, key, has_sender=True)
        if order.type in LONG:
            return Waiting(key, *await answering.whom(order.data, transaction))
    except WaifuError:
        pass
    return Waiting(key)


class _Shared:
    """One piece of work that several may wait for."""

    def __init__(self, work: asyncio.Task[Answer], *, ends_alone: bool) -> None:
        self.work = work
        self.is_given_up = False
        self._ends_alone = ends_alone
        self._waiting = 0

    async def wait(self) -> Answer:
        self._waiting += 1
        try:
            return await asyncio.shield(self.work)
        finally:
            self._waiting -= 1
            if not self._waiting and not self._ends_alone:
                self.is_given_up = True
                self.work.cancel()
