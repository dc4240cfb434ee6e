"""Instructions that take long: kept before they are begun, and until their answers have arrived.

The inbox of the chats keeps them, over any end of this process. Here is only what is under way,
and a bounded number of those that come next.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from waifu_llm.doors.errands import Errand, Kept, failure
from waifu_llm.doors.replies import fault
from waifu_llm.errors import Unavailable
from waifu_llm.tasks import Tasks

if TYPE_CHECKING:
    from waifu_llm.chats.instructions import Instructions

AT_HAND = 1000
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0

T = TypeVar("T")
log = logging.getLogger("waifu_llm.backlog")

Deliver = Callable[[Kept, Mapping[str, Any]], Awaitable[None]]
"""Brings an answer to where it is waited for. Returns when it arrived, or never can."""


class Backlog:
    """Carries out so many at a time, the oldest first."""

    def __init__(self, instructions: Instructions, deliver: Deliver, at_once: int) -> None:
        self._instructions = instructions
        self._deliver = deliver
        self._at_once = at_once
        self._next: deque[Kept] = deque()
        self._known: set[str] = set()
        self._more = False
        """Whether the inbox has some that are not known here."""
        self._tasks = Tasks()
        self._working = 0

    def __len__(self) -> int:
        return len(self._known)

    async def add(self, errand: Errand) -> None:
        """Kept when this returns. One that is under way already is not begun again."""
        new = errand.kept()
        accept = self._instructions.accept
        await patiently(lambda: accept(errand.instruction, new.key, new.reply))
        self._note(new)
        self._go_on()

    async def resume(self) -> None:
        """Take up what is in the inbox, from before this process perhaps."""
        self._more = False
        for each in await patiently(self._instructions.unanswered):
            self._note(Kept(each.key, each.instruction, each.reply))
        self._go_on()

    async def stop(self) -> None:
        """What is under way ends here. It stays in the inbox, and goes on another time."""
        self._next.clear()
        self._tasks.cancel()
        await self._tasks.over()

    def _note(self, entry: Kept) -> None:
        if entry.key in self._known:
            return
        self._more = self._more or len(self._next) >= AT_HAND
        if not self._more:
            self._known.add(entry.key)
            self._next.append(entry)

    def _go_on(self) -> None:
        for _ in range(min(self._at_once - self._working, len(self._next))):
            self._working += 1
            self._tasks.start(self._work())

    async def _work(self) -> None:
        try:
            while self._next:
                await self._finish(self._next.popleft())
        finally:
            self._working -= 1
        if self._more and not self._working:
            await self.resume()

    async def _finish(self, entry: Kept) -> None:
        try:
            answer = await carry_out(self._instructions, entry.instruction, entry.execution)
            await self._deliver(entry, answer)
            await patiently(lambda: self._instructions.answered(entry.key))
        finally:
            self._known.discard(entry.key)


async def carry_out(
    instructions: Instructions, instruction: Mapping[str, Any], key: str | None
) -> Mapping[str, Any]:
    """The answer, however long the store is away. A fault of ours is an answer too."""
    try:
        return await patiently(lambda: instructions.carry_out(instruction, key=key))
    except Exception as exc:
        return failure(fault(exc).message)


async def patiently(do: Callable[[], Awaitable[T]]) -> T:
    """Again and again, while the store cannot be reached."""
    pause = FIRST_PAUSE
    while True:
        try:
            return await do()
        except Unavailable as error:
            log.warning("%s", error.message)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
