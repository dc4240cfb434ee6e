"""What one client says of jobs, and what it hears of them."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from typing import Any

from waifu_llm import answers, protocol
from waifu_llm.doors.frames import FrameWriter
from waifu_llm.doors.replies import Replies, fault
from waifu_llm.doors.trust import Trust
from waifu_llm.errors import InvalidMessage, Overloaded, WaifuError
from waifu_llm.gathered import LARGEST_PART, parts
from waifu_llm.guest import Guest
from waifu_llm.jobs.job import Job, tell_end
from waifu_llm.jobs.runner import Jobs
from waifu_llm.protocol import About
from waifu_llm.tasks import Tasks

MOST_LISTENS = 10_000
"""How many may wait of one client until what came before is told."""


class JobMessages:
    """The part of one client's conversation that is about jobs."""

    def __init__(
        self, jobs: Jobs, guest: Guest, replies: Replies, writer: FrameWriter, trust: Trust
    ) -> None:
        self._jobs = jobs
        self._guest = guest
        self._replies = replies
        self._writer = writer
        self._trust = trust
        self._client = secrets.token_hex(8)
        self._ears: dict[str, JobEar] = {}
        self._late: deque[protocol.Listen] = deque()
        self._tasks = Tasks()
        self._is_telling = False
        self.handlers: dict[type, Callable[[Any], None]] = {
            protocol.Add: self._add,
            protocol.Listen: self._listen,
            protocol.Cancel: self._cancel,
            protocol.GetAssistants: self._get_assistants,
        }

    async def finish(self) -> None:
        """Until what was missed is told."""
        await self._tasks.over()

    def leave(self) -> None:
        """Its jobs go on."""
        for id, ear in self._ears.items():
            if job := self._jobs.live(id):
                job.stop_listening(ear)
        self._ears.clear()
        self._tasks.cancel()

    def _add(self, asked: protocol.Add) -> None:
        about = About("add", asked.unique_request_id, id=asked.id)
        try:
            job = self._jobs.prepare(asked, self._guest.holdings, self._client)
        except WaifuError as error:
            self._replies.error(error, about)
        else:
            self._replies.attempt(about, self._accept(asked, job))

    async def _accept(self, asked: protocol.Add, job: Job) -> None:
        await self._jobs.accept(job)
        self._writer.send(answers.job_accepted(asked, job.id))
        self._jobs.listen(job, self._ear(job.id))

    def _listen(self, asked: protocol.Listen) -> None:
        """Who listens already goes on to, and is told nothing twice."""
        if asked.job_id in self._ears:
            return
        if len(self._late) >= MOST_LISTENS:
            error = Overloaded(
                f"{MOST_LISTENS} of your `listen` wait already.", retry_after_ms=1000
            )
            self._replies.error(error, _about(asked))
            return
        self._ear(asked.job_id)
        self._late.append(asked)
        if not self._is_telling:
            self._is_telling = True
            self._tasks.start(self._tell_all())

    async def _tell_all(self) -> None:
        """What was missed of one job after the other: all at once might be more than the client
        can be behind."""
        try:
            while self._late:
                await self._tell_one(self._late.popleft())
        finally:
            self._is_telling = False

    async def _tell_one(self, asked: protocol.Listen) -> None:
        ear = self._ears[asked.job_id]
        try:
            if job := self._jobs.live(asked.job_id):
                await self._tell_so_far(job, ear)
            else:
                await self._tell_what_was(asked.job_id, ear)
        except WaifuError as error:
            self._forget(asked.job_id)
            self._replies.error(error, _about(asked))
        except Exception as exc:
            self._forget(asked.job_id)
            self._replies.error(fault(exc), _about(asked))
        await self._until_taken()

    async def _tell_so_far(self, job: Job, ear: JobEar) -> None:
        """Until so little is left that it can be told at once; then it listens to what comes."""
        heard: int | None = None
        while job.has_begun and len(text := job.text) - (heard or 0) > LARGEST_PART:
            await self._tell(text[heard:], ear, is_first=heard is None)
            heard = len(text)
        self._jobs.listen(job, ear, heard)

    async def _tell_what_was(self, id: str, ear: JobEar) -> None:
        """A job that has ended is told as it was."""
        try:
            ended = await self._jobs.ended(id)
        except InvalidMessage as error:
            ear.failed(error.message)
            return
        if ended.state == "done" or ended.text:
            await self._tell(ended.text, ear, is_first=True)
        tell_end(ear, None if ended.state == "done" else ended.message)

    async def _tell(self, text: str, ear: JobEar, *, is_first: bool) -> None:
        """No faster than the client takes it."""
        if is_first:
            ear.running("")
        for part in parts(text):
            ear.running(part)
            await self._until_taken()

    async def _until_taken(self) -> None:
        self._writer.flush()
        await self._writer.drained()

    def _cancel(self, asked: protocol.Cancel) -> None:
        def tell() -> None:
            self._writer.send_now(answers.job_cancelled(asked))

        try:
            may_all = self._trust.has_token
            self._jobs.cancel(asked.job_id, self._client, anyones=may_all, on_kept=tell)
        except WaifuError as error:
            about = About("cancel", asked.unique_request_id, job_id=asked.job_id)
            self._replies.error(error, about)

    def _get_assistants(self, asked: protocol.GetAssistants) -> None:
        self._replies.done(asked, assistants=self._jobs.shelf.names())

    def _ear(self, id: str) -> JobEar:
        ear = self._ears[id] = JobEar(self._writer, id, self._forget)
        return ear

    def _forget(self, id: str) -> None:
        self._ears.pop(id, None)


def _about(asked: protocol.Listen) -> About:
    return About("listen", asked.unique_request_id, job_id=asked.job_id)


class JobEar:
    """Listens to one job for one client: what happens becomes frames."""

    __slots__ = ("_id", "_on_end", "_prefix", "_writer", "flush")

    def __init__(self, writer: FrameWriter, id: str, on_end: Callable[[str], None]) -> None:
        self._writer = writer
        self._id = id
        self._prefix = answers.job_prefix(id)
        self._on_end = on_end
        self.flush = writer.flush

    def pending(self, place: int) -> None:
        self._writer.send(answers.job_pending(self._id, place))

    def running(self, text: str) -> None:
        self._writer.chunk(self._prefix, text)

    def done(self) -> None:
        self._end(answers.job_done(self._id))

    def failed(self, message: str) -> None:
        self._end(answers.job_failed(self._id, message))

    def _end(self, message: bytes) -> None:
        self._writer.end_stream(message, self._prefix)
        self._on_end(self._id)
