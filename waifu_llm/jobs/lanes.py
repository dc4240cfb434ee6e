"""Lanes: for each provider as many places as it takes, and the jobs that wait for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from waifu_llm.engine import Engine
from waifu_llm.jobs.job import Job
from waifu_llm.jobs.queue import FairQueue
from waifu_llm.specs import ProviderSpec


class Lane:
    """The places at one provider. When it is a client's turn, those of its jobs go first that have
    begun at another."""

    def __init__(self, places: int, start: Callable[[Job, Lane], None]) -> None:
        self.waiting: FairQueue[Job] = FairQueue()
        self._free = places
        self._entering: dict[Job, asyncio.Future[None]] = {}
        self._start = start
        self._closed = False

    def add(self, job: Job) -> None:
        """It is started with a place of its own, now or when its turn comes."""
        self.waiting.put(job, job.client, job.priority)
        self._fill()

    async def enter(self, job: Job) -> None:
        """Wait for a place, as a job that has begun."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._entering[job] = turn
        self.waiting.put(job, job.client, job.priority, ahead=True)
        self._fill()
        try:
            await turn
        except asyncio.CancelledError:
            self._entering.pop(job, None)
            self.waiting.remove(job)
            if turn.done() and not turn.cancelled():  # it was given the place all the same
                self.leave()
            raise

    def leave(self) -> None:
        self._free += 1
        self._fill()

    def close(self) -> None:
        """Nobody starts any more."""
        self._closed = True

    def _fill(self) -> None:
        while self._free and self.waiting and not self._closed:
            self._free -= 1
            self._give_place(self.waiting.take())

    def _give_place(self, job: Job) -> None:
        turn = self._entering.pop(job, None)
        if turn is None:
            self._start(job, self)
        elif turn.done():  # it has given up at this moment
            self._free += 1
        else:
            turn.set_result(None)


class Lanes:
    """All of them, made when they are first needed."""

    def __init__(self, engine: Engine, start: Callable[[Job, Lane], None]) -> None:
        self._engine = engine
        self._start = start
        self._lanes: dict[str, Lane] = {}

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def of(self, spec: ProviderSpec) -> Lane:
        if spec.name not in self._lanes:
            self._lanes[spec.name] = Lane(self._engine.concurrency(spec), self._start)
        return self._lanes[spec.name]
