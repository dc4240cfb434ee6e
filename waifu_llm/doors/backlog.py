"""Instructions that take long: kept before they are begun, and until their answers have arrived.

The inbox of the chats keeps them, over any end of this process. Here is only what each of a
bounded number waits for, the oldest first. What one says is read when its turn has come.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from waifu_llm.chats.outcomes import failure
from waifu_llm.doors.errands import Errand, Kept
from waifu_llm.doors.replies import fault
from waifu_llm.errors import Busy, Unavailable
from waifu_llm.tasks import Tasks
from waifu_llm.turns import Turns

if TYPE_CHECKING:
    from waifu_llm.chats.instructions import Instructions, Waiting

AT_HAND = 1000
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0

T = TypeVar("T")
log = logging.getLogger("waifu_llm.backlog")

Deliver = Callable[[Kept, Mapping[str, Any]], Awaitable[None]]
"""Brings an answer to where it is waited for. Returns when it arrived, or never can."""


class Backlog:
    """Has each chat's answered one after the other, and so many at a time of each who is asked."""

    def __init__(self, instructions: Instructions, deliver: Deliver, at_once: int) -> None:
        self._instructions = instructions
        self._deliver = deliver
        self._chats = Turns()
        self._asked = Turns(at_once)
        self._known: set[str] = set()
        self._again: set[str] = set()
        """Which of those came again: what the inbox has of them may be newer than their end."""
        self._more = True
        """Whether the inbox has some that are not known here, from before this process perhaps."""
        self._noting = asyncio.Lock()
        """So that nothing new is noted before what is just being read from the inbox."""
        self._tasks = Tasks()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._known)

    async def add(self, errand: Errand) -> None:
        """Kept when this returns. One that is under way already is not begun again."""
        new = errand.kept()
        accept = self._instructions.accept
        waiting = await patiently(lambda: accept(errand.instruction, new.key, new.reply))
        async with self._noting:
            self._note(waiting)

    async def resume(self) -> None:
        """Look what is in the inbox. Nothing that is under way is begun again."""
        self._more = True
        await self._refill()

    async def stop(self) -> None:
        """What is under way ends here. It stays in the inbox, and goes on another time."""
        self._stopped = True
        self._tasks.cancel()
        await self._tasks.over()

    def _note(self, one: Waiting) -> None:
        if one.key in self._known:
            self._again.add(one.key)
        elif self._more or len(self._known) >= AT_HAND:
            self._more = True
            self._refill_when_low()
        else:
            self._begin(one)

    def _refill_when_low(self) -> None:
        if self._runs_low:
            self._tasks.start(self._refill())

    async def _refill(self) -> None:
        """By halves: each look at the inbox costs as much as is known already."""
        async with self._noting:
            while self._runs_low:
                found = await self._look()
                self._more = len(found) == AT_HAND // 2
                for each in found:
                    self._begin(each)

    async def _look(self) -> list[Waiting]:
        """Whatever goes wrong: nobody else would look again."""
        while True:
            try:
                return await patiently(self._unknown_ones)
            except Exception as exc:
                fault(exc)
            await asyncio.sleep(LONGEST_PAUSE)

    def _unknown_ones(self) -> Awaitable[list[Waiting]]:
        return self._instructions.unanswered(self._known, AT_HAND // 2)

    @property
    def _runs_low(self) -> bool:
        return self._more and not self._stopped and len(self._known) <= AT_HAND // 2

    def _begin(self, one: Waiting) -> None:
        self._known.add(one.key)
        self._tasks.start(self._see_to(one))

    async def _see_to(self, one: Waiting) -> None:
        """What waits for its chat keeps no place from others that ask the same."""
        try:
            async with self._chats.turn(one.chat or one.key), self._asked.turn(one.asked):
                await self._finish(one.key)
        finally:
            self._forget(one.key)

    async def _finish(self, key: str) -> None:
        accepted = await patiently(lambda: self._instructions.accepted(key))
        if accepted is None:  # it came to its end between being found and being noted
            return
        entry = Kept(key, accepted.instruction, accepted.reply)
        answer = await carry_out(self._instructions, entry.instruction, entry.execution)
        await self._deliver(entry, answer)
        await patiently(lambda: self._instructions.answered(key))

    def _forget(self, key: str) -> None:
        self._known.discard(key)
        if key in self._again:
            self._again.discard(key)
            self._more = True
        self._refill_when_low()


async def carry_out(
    instructions: Instructions, instruction: Mapping[str, Any], key: str | None
) -> Mapping[str, Any]:
    """The answer, however long the store is away. A fault of ours is an answer too."""
    try:
        return await patiently(lambda: instructions.carry_out(instruction, key=key))
    except Exception as exc:
        return failure(fault(exc))


async def patiently(do: Callable[[], Awaitable[T]]) -> T:
    """Again and again, while the store cannot be reached, or others keep it busy."""
    pause = FIRST_PAUSE
    while True:
        try:
            return await do()
        except (Unavailable, Busy) as error:
            log.warning("%s", error.message)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
