"""A store of jobs that a test breaks, holds back and outlives."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from waifu_llm.errors import WaifuError
from waifu_llm.jobs.store import StoredJob


class FakeStore:
    """A JobStore that outlives a Jobs; it keeps bytes, as a real one does."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}
        self.open = asyncio.Event()
        self.open.set()
        self.broken: WaifuError | None = None
        self.failures = 0
        self.asked = 0
        self._is_dead = False

    async def _reach(self) -> None:
        self.asked += 1
        await self.open.wait()
        if self.broken:
            self.failures += 1
            raise self.broken

    def row(self, id: str) -> StoredJob:
        return msgspec.json.decode(self.rows[id], type=StoredJob)

    def holds(self, word: str) -> bool:
        return any(word in repr(self.row(id)) for id in self.rows)

    def _write(self, job: StoredJob) -> None:
        if self._is_dead:
            return
        self.rows[job.id] = msgspec.json.encode(job)

    async def add(self, job: StoredJob) -> None:
        await self._reach()
        self._write(job)

    async def started(self, id: str, attempts: int) -> None:
        await self._reach()
        self._write(msgspec.structs.replace(self.row(id), attempts=attempts, state="running"))

    async def ended(self, id: str, state: Any, text: str, message: str, when: float) -> None:
        await self._reach()
        new = {"state": state, "text": text, "message": message, "ended": when, "body": b""}
        self._write(msgspec.structs.replace(self.row(id), **new))

    async def unfinished(self) -> list[StoredJob]:
        rows = [self.row(id) for id in self.rows]
        return [each for each in rows if each.state in ("waiting", "running")]

    async def find(self, id: str) -> StoredJob | None:
        await self._reach()
        return self.row(id) if id in self.rows else None

    async def forget_before(self, when: float) -> None:
        old = [id for id in self.rows if (self.row(id).ended or when) < when]
        for id in old:
            del self.rows[id]

    def killed(self) -> FakeStore:
        """The module was: it writes no more, and another one finds what is there."""
        self._is_dead = True
        after = FakeStore()
        after.rows = dict(self.rows)
        return after
