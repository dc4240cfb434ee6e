"""What one client says of jobs, and what it hears of them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from waifu_llm import answers, protocol
from waifu_llm.doors.frames import FrameWriter
from waifu_llm.doors.replies import Replies
from waifu_llm.doors.trust import Trust
from waifu_llm.errors import InvalidMessage, WaifuError
from waifu_llm.guest import Guest
from waifu_llm.jobs.job import Job, tell_end, tell_text
from waifu_llm.jobs.runner import Jobs
from waifu_llm.protocol import About


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
        self.handlers: dict[type, Callable[[Any], None]] = {
            protocol.Add: self._add,
            protocol.Listen: self._listen,
            protocol.Cancel: self._cancel,
            protocol.GetAssistants: self._get_assistants,
        }

    def leave(self) -> None:
        """Its jobs go on."""
        for id, ear in self._ears.items():
            if job := self._jobs.live(id):
                job.stop_listening(ear)
        self._ears.clear()

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
        ear = self._ear(asked.job_id)
        if job := self._jobs.live(asked.job_id):
            self._jobs.listen(job, ear)
        else:
            about = About("listen", asked.unique_request_id, job_id=asked.job_id)
            self._replies.attempt(about, self._tell_what_was(asked.job_id, ear))

    async def _tell_what_was(self, id: str, ear: JobEar) -> None:
        """A job that has ended is told as it was."""
        try:
            ended = await self._jobs.ended(id)
        except InvalidMessage as error:
            ear.failed(error.message)
            return
        finally:
            self._ears.pop(id, None)
        if ended.state == "done" or ended.text:
            tell_text(ear, ended.text)
        tell_end(ear, None if ended.state == "done" else ended.message)

    def _cancel(self, asked: protocol.Cancel) -> None:
        try:
            self._jobs.cancel(asked.job_id, self._client, anyones=self._trust.has_token)
        except WaifuError as error:
            about = About("cancel", asked.unique_request_id, job_id=asked.job_id)
            self._replies.error(error, about)
        else:
            self._writer.send(answers.job_cancelled(asked))

    def _get_assistants(self, asked: protocol.GetAssistants) -> None:
        self._replies.done(asked, assistants=self._jobs.shelf.names())

    def _ear(self, id: str) -> JobEar:
        ear = self._ears[id] = JobEar(self._writer, id, self._forget)
        return ear

    def _forget(self, id: str) -> None:
        self._ears.pop(id, None)


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
