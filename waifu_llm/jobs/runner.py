"""Jobs: accepted, kept, started when their turn comes, told to whoever listens.

A job belongs to the module, not to a connection: who added it may leave. An accepted one ends, with
its text or with why there is none; where the store outlives the module, also after that was killed.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable

from waifu_llm.config import Config
from waifu_llm.engine import Engine
from waifu_llm.errors import Forbidden, InvalidMessage, Unavailable, WaifuError
from waifu_llm.holdings import Holdings
from waifu_llm.jobs import assistants
from waifu_llm.jobs.job import Job, Listener
from waifu_llm.jobs.keeping import Keeper
from waifu_llm.jobs.lanes import Lane, Lanes
from waifu_llm.jobs.room import Room
from waifu_llm.jobs.run import Run
from waifu_llm.jobs.shelf import Shelf
from waifu_llm.jobs.store import JobStore, Memory, StoredJob
from waifu_llm.jobs.work import Planner, Work
from waifu_llm.protocol import Add
from waifu_llm.tasks import Tasks

_LOOKS_EVERY_SECONDS = 1.0
_FORGETS_EVERY_SECONDS = 60.0
_ENDINGS_SECONDS = 2.0

_SHUT_DOWN = "The module was shut down, and it has no store that keeps jobs."

log = logging.getLogger("waifu_llm.jobs")


def _nothing() -> None: ...


class Jobs:
    """All of them."""

    def __init__(self, engine: Engine, config: Config, shelf: Shelf) -> None:
        self.shelf = shelf
        self._engine = engine
        self._config = config
        self._keeper = Keeper(Memory(config.max_jobs), outlives=False)
        self._jobs: dict[str, Job] = {}
        self._lanes = Lanes(engine, self._begin)
        self._room = Room(config)
        self._runs = Tasks()
        self._ends = Tasks()
        self._looking: asyncio.Task[None] | None = None
        self._closing = False

    # Adding

    def prepare(self, asked: Add, holdings: Holdings, client: str) -> Job:
        """What this asks for, not accepted yet. It will load providers as this client would.

        Raises:
            WaifuError: When it cannot be done.
        """
        self._see_that_it_is_open()
        template = asked.assistant
        assistant = assistants.read(
            self.shelf.template(template) if isinstance(template, str) else template
        )
        history, priority = asked.history or [], asked.priority or 0
        steps, loads = Planner(self._engine, holdings).plan(assistant, history)
        todo = Work(client, asked.query, steps, history, priority)
        stored = StoredJob(str(uuid.uuid4()), time.time(), todo.written())
        return Job(stored, client, priority, loads)

    async def accept(self, job: Job) -> None:
        """Keep it, and let it wait for its turn. It is accepted when this returned; who gives up
        waiting for this does not take it back.

        Raises:
            Overloaded: When too many wait already.
            WaifuError: When it cannot be kept.
        """
        self._see_that_it_is_open()
        self._room.check(job)
        self._room.enter(job)
        if self._keeper.outlives:
            await asyncio.shield(self._runs.start(self._keep(job)))
        else:
            await self._keep(job)  # at once

    def _see_that_it_is_open(self) -> None:
        if self._closing:
            raise Unavailable("The module is shutting down.")

    async def _keep(self, job: Job) -> None:
        try:
            await self._keeper.add(job)
        except BaseException:
            self._leave_room(job)
            raise
        self._queue(job)

    def _queue(self, job: Job) -> None:
        self._jobs[job.id] = job
        self._lane(job).add(job)

    def _lane(self, job: Job) -> Lane:
        """Where it waits to begin."""
        return self._lanes.of(job.loads[0].spec)

    # Running

    def _begin(self, job: Job, lane: Lane) -> None:
        """Its turn has come, and it has a place."""
        self._room.waits_no_longer(job)
        run = Run(self._engine, self._lanes, self._room, job, lane)
        task = self._runs.start(self._run(job, run))
        task.add_done_callback(lambda _: run.leave())  # also when it never took a step
        job.starts(task)

    async def _run(self, job: Job, run: Run) -> None:
        """It has its place until its end is kept: no more ends can wait for that than there are
        places."""
        message: str | None = None
        try:
            if job.taken_up:  # a first start need not be kept: it costs what an `add` does
                await self._keeper.count(job, +1)
            await run.do()
        except WaifuError as error:
            message = error.message
        except Exception as exc:
            log.error("a fault of the module", exc_info=exc)
            message = f"A fault of the module: {exc!r}. Please report it."
        if job.state != "ending":
            await self._end(job, message)

    async def _end(
        self, job: Job, message: str | None, on_kept: Callable[[], None] = _nothing
    ) -> None:
        """Who hears that it ended will never see it run again."""
        job.state = "ending"
        await self._keeper.ended(job, message)
        on_kept()
        self._jobs.pop(job.id, None)
        self._leave_room(job)
        job.ends(message)

    def _leave_room(self, job: Job) -> None:
        if not job.has_begun:
            self._room.waits_no_longer(job)
        self._room.leave(job)

    # Listening and cancelling

    def live(self, id: str) -> Job | None:
        """The job of this id, where it has not ended."""
        return self._jobs.get(id)

    def listen(self, job: Job, listener: Listener, heard: int | None = None) -> None:
        """Tell what was missed, all but so many characters that were told, then what comes."""
        waits = job.state == "waiting"
        job.listen(listener, self._lane(job).waiting.place(job) if waits else 0, heard)

    async def ended(self, id: str) -> StoredJob:
        """What became of a job.

        Raises:
            InvalidMessage: When there is none of this id, or it is long over.
        """
        return await self._keeper.find(id)

    def cancel(
        self, id: str, client: str, *, anyones: bool, on_kept: Callable[[], None] = _nothing
    ) -> None:
        """Take it back, whether it waits or runs. `on_kept` is called when that is certain, before
        those hear of it who listen.

        Raises:
            InvalidMessage: When there is nothing to cancel.
            Forbidden: When it is another's.
        """
        job = self._jobs.get(id)
        if job is None or job.state == "ending":
            raise InvalidMessage(f"There is no job `{id}` that waits or runs.")
        if job.client != client and not anyones:
            raise Forbidden(
                "A job is cancelled by the connection that added it, or with the module's token."
            )
        if job.state == "waiting":
            self._lane(job).waiting.remove(job)
        self._stop(job, "Cancelled.", on_kept)

    def _stop(self, job: Job, why: str, on_kept: Callable[[], None] = _nothing) -> None:
        job.state = "ending"
        if job.task:
            job.task.cancel()
        self._ends.start(self._end(job, why, on_kept))

    def status(self) -> dict[str, int]:
        begun = sum(1 for job in self._jobs.values() if job.has_begun)
        return {"waiting": self._room.waiting, "running": begun - self._room.between}

    # Its own life

    async def open(self, store: JobStore | None = None) -> None:
        """Keep jobs in a store that outlives the module, where there is one, and take up what the
        module's end kept from being done.

        Raises:
            WaifuError: When the store cannot be read.
        """
        if store:
            self._keeper = Keeper(store, outlives=True)
        for job in await self._keeper.unfinished(self._engine):
            self._room.enter(job)
            self._queue(job)
        self._looking = self._runs.start(self._look_after())

    async def _look_after(self) -> None:
        """Tell who waits how near it came, and forget what is long over."""
        next_look = 0.0
        while True:
            await asyncio.sleep(_LOOKS_EVERY_SECONDS)
            for lane in self._lanes:
                for place, job in enumerate(lane.waiting.in_order(), 1):
                    job.moves(place)
            if time.monotonic() >= next_look:
                kept = self._config.jobs_kept_seconds
                next_look = time.monotonic() + min(kept / 2, _FORGETS_EVERY_SECONDS)
                await self._keeper.forget_before(time.time() - kept)

    async def close(self) -> None:
        """Nothing more begins. Where the store outlives the module, what is not done, or is done
        and could not be kept, is done when it starts again; else it has failed."""
        self._closing = True
        if self._looking:
            self._looking.cancel()
        for lane in self._lanes:
            lane.close()
        for job in list(self._jobs.values()):
            if job.state == "ending":
                continue
            if not self._keeper.outlives:
                self._stop(job, _SHUT_DOWN)
            elif job.task:
                job.task.cancel()
                self._ends.start(self._keeper.count(job, -1))  # it is not to blame for this end
        ending = [asyncio.create_task(each.over()) for each in (self._ends, self._runs)]
        await asyncio.wait(ending, timeout=_ENDINGS_SECONDS)
        for tasks in (self._ends, self._runs):
            tasks.cancel()
