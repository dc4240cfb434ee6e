"""What the store is told of jobs, and asked: what became of them however long it is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from waifu_llm.engine import Engine
from waifu_llm.errors import InvalidMessage, WaifuError
from waifu_llm.jobs.again import taken_up
from waifu_llm.jobs.job import Job
from waifu_llm.jobs.store import ENDED, JobStore, State, StoredJob

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0

log = logging.getLogger("waifu_llm.jobs")


class Keeper:
    """Has a store keep jobs. Whether that outlives the module, it knows as well."""

    def __init__(self, store: JobStore, *, outlives: bool) -> None:
        self.outlives = outlives
        self._store = store
        self._in_trouble = False

    async def add(self, job: Job) -> None:
        """
        Raises:
            WaifuError: When it cannot be kept.
        """
        await self._store.add(job.stored)

    async def count(self, job: Job, starts: int) -> None:
        """Of a job that begins, or that is not to blame for having begun."""
        job.stored.attempts += starts
        attempts = job.stored.attempts
        await self._insist(lambda: self._store.started(job.id, attempts))

    async def ended(self, job: Job, message: str | None) -> None:
        state: State = "done" if message is None else "failed"
        text, when = job.text, time.time()
        await self._insist(lambda: self._store.ended(job.id, state, text, message or "", when))

    async def unfinished(self, engine: Engine) -> list[Job]:
        """What the module's end kept from being done. What cannot be done any more has failed.

        Raises:
            WaifuError: When the store cannot be used.
        """
        found = [await self._taken_up(each, engine) for each in await self._store.unfinished()]
        return [job for job in found if job]

    async def _taken_up(self, stored: StoredJob, engine: Engine) -> Job | None:
        try:
            return taken_up(stored, engine)
        except WaifuError as error:
            await self._store.ended(stored.id, "failed", "", error.message, time.time())
            return None

    async def find(self, id: str) -> StoredJob:
        """One that has ended.

        Raises:
            InvalidMessage: When there is none of this id, or it is long over.
        """
        found = await self._store.find(id)
        if found is None or found.state not in ENDED:
            raise InvalidMessage(
                f"There is no job `{id}`: there never was, or it ended long ago and is forgotten."
            )
        return found

    async def forget_before(self, when: float) -> None:
        try:
            await self._store.forget_before(when)
        except Exception as exc:
            log.warning("jobs that are long over could not be forgotten: %s", _why(exc))

    async def _insist(self, write: Callable[[], Awaitable[None]]) -> None:
        """It is written when this returns."""
        pause = _FIRST_PAUSE
        while not await self._try(write):
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _try(self, write: Callable[[], Awaitable[None]]) -> bool:
        """Each trouble is told once, however many jobs are in it."""
        try:
            await write()
        except Exception as exc:  # whatever it is: nobody may hear of what is not kept
            if not self._in_trouble:
                log.error("what becomes of jobs cannot be kept, and is tried again: %s", _why(exc))
            self._in_trouble = True
            return False
        if self._in_trouble:
            log.warning("what becomes of jobs can be kept again")
        self._in_trouble = False
        return True


def _why(exc: Exception) -> str:
    """What a database says of a fault has in it what it was to keep."""
    return exc.message if isinstance(exc, WaifuError) else type(exc).__name__
