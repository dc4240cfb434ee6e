"""Instructions without a store: what the doors call, and what they made of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from waifu_llm.errors import InvalidMessage, Unavailable, WaifuError


class Accepted(NamedTuple):
    key: str
    instruction: Mapping[str, Any]
    reply: Mapping[str, str]


class Waiting(NamedTuple):
    key: str
    chat: int | None
    asked: str


class FakeInstructions:
    """It answers with what it was asked, and remembers what it did, over any end of a door.

    What is of the type LONG waits until `go_on` is set.
    """

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self.inbox: dict[str, Accepted] = {}
        self.running = 0
        self.most_running = 0
        self.away = 0
        """So many calls find no store."""
        self._turns = itertools.cycle(range(10, 0, -1))
        """Of the loop, for each: what comes later is done sooner, where nothing keeps it back."""
        self.on_its_way = asyncio.Event()
        """Shut, and what the inbox holds is found, but does not arrive."""
        self.on_its_way.set()
        self.is_kept = asyncio.Event()
        """Shut, and what was answered is still being kept."""
        self.is_kept.set()
        self.is_told = asyncio.Event()
        """Shut, and what is taken out of the inbox is gone, but nobody hears of it."""
        self.is_told.set()
        self.go_on = asyncio.Event()
        self.go_on.set()

    def is_long(self, instruction: Mapping[str, Any]) -> bool:
        return instruction.get("type") == "LONG"

    def unkeepable(self, instruction: Mapping[str, Any]) -> WaifuError | None:
        return InvalidMessage("a secret") if instruction.get("data") == "secret" else None

    async def carry_out(
        self,
        instruction: Mapping[str, Any],
        *,
        key: str | None = None,
        on_chunk: Callable[[str], None] | None = None,
        before_keeping: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        self._look()
        if key in self.answers:
            return self.answers[key]
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self._work(instruction, on_chunk)
            before_keeping()
            await self.is_kept.wait()
        finally:
            self.running -= 1
        self.done.append(instruction.get("data"))
        answer = {"status": "success", "message": "Done.", "data": instruction.get("data")}
        if key:
            self.answers[key] = answer
        return answer

    async def _work(
        self, instruction: Mapping[str, Any], on_chunk: Callable[[str], None] | None
    ) -> None:
        if instruction.get("type") == "FAULT":
            raise ZeroDivisionError("a fault")
        if on_chunk:
            on_chunk("one ")
            on_chunk("two")
        if self.is_long(instruction):
            await self.go_on.wait()
        else:
            for _ in range(next(self._turns)):
                await asyncio.sleep(0)

    async def accept(
        self, instruction: Mapping[str, Any], key: str, reply: Mapping[str, str]
    ) -> Waiting:
        self._look()
        return _waiting(self.inbox.setdefault(key, Accepted(key, instruction, reply)))

    async def unanswered(self, besides: Collection[str], limit: int) -> list[Waiting]:
        self._look()
        found = list(self.inbox.values())
        await self.on_its_way.wait()
        return [_waiting(each) for each in found if each.key not in besides][:limit]

    async def accepted(self, key: str) -> Accepted | None:
        self._look()
        return self.inbox.get(key)

    async def answered(self, key: str) -> None:
        self._look()
        self.inbox.pop(key, None)
        await self.is_told.wait()

    def _look(self) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("The database does not answer.")


def _waiting(accepted: Accepted) -> Waiting:
    said = accepted.instruction
    return Waiting(accepted.key, said.get("chat"), said.get("asked", ""))
