"""Where jobs are kept: what a store must do, and the one that forgets all when the module ends."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, Protocol

from msgspec import Struct

State = Literal["waiting", "running", "done", "failed"]
ENDED = ("done", "failed")
MOST_KEPT = 32 * 1024 * 1024
"""Characters that are kept of ended jobs in memory."""


class StoredJob(Struct):
    """A job as it is kept. It may name keys, and never holds one."""

    id: str
    added: float
    body: bytes
    """What is to be done, as `work.py` writes it; nothing once it has ended."""
    attempts: int = 1
    """How often the module may have ended because of it: how often it was begun, less those times
    that the module was closed in order. The first one counts when it is added: no write tells of
    it."""
    state: State = "waiting"
    text: str = ""
    message: str = ""
    """Why it failed."""
    ended: float | None = None


class JobStore(Protocol):
    """Keeps jobs. What was given to it is there after whatever happens once a call returned."""

    async def add(self, job: StoredJob) -> None: ...

    async def started(self, id: str, attempts: int) -> None: ...

    async def ended(self, id: str, state: State, text: str, message: str, when: float) -> None:
        """Can be said again, where it is not known whether it was heard."""

    async def unfinished(self) -> list[StoredJob]: ...

    async def find(self, id: str) -> StoredJob | None: ...

    async def forget_before(self, when: float) -> None:
        """Forget what ended before then."""


class Memory:
    """In place of a store: keeps what became of jobs, the latest of them, and nothing else."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._ended: OrderedDict[str, StoredJob] = OrderedDict()
        self._text = 0

    async def add(self, job: StoredJob) -> None:
        """Who accepted it has it, and nothing here would outlive that."""

    async def started(self, id: str, attempts: int) -> None: ...

    async def ended(self, id: str, state: State, text: str, message: str, when: float) -> None:
        job = StoredJob(id, 0.0, b"", 0, state, text, message, when)
        self._ended[id] = job
        self._text += _length(job)
        while len(self._ended) > self._most or self._text > MOST_KEPT:
            self._forget_oldest()

    async def unfinished(self) -> list[StoredJob]:
        return []

    async def find(self, id: str) -> StoredJob | None:
        return self._ended.get(id)

    async def forget_before(self, when: float) -> None:
        while self._ended and (next(iter(self._ended.values())).ended or 0.0) < when:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _, job = self._ended.popitem(last=False)
        self._text -= _length(job)


def _length(job: StoredJob) -> int:
    return len(job.text) + len(job.message)
