"""One job while it runs: its steps, one after the other, each at a place of its provider's."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import TypeVar

import msgspec

from waifu_llm.conversation import Message
from waifu_llm.engine import Engine
from waifu_llm.errors import ContextTooLong, ProviderCrashed, Unavailable, WaifuError
from waifu_llm.generation import Final
from waifu_llm.guest import Guest
from waifu_llm.holdings import Asked
from waifu_llm.jobs import work
from waifu_llm.jobs.assistants import MOST_TEXT, Given, ask_for_summary, fill
from waifu_llm.jobs.job import Job, Load
from waifu_llm.jobs.lanes import Lane, Lanes
from waifu_llm.jobs.room import Room
from waifu_llm.jobs.work import Step
from waifu_llm.protocol import Generate

PATIENCE_SECONDS = 900.0
"""How long a job goes on to ask a provider that is busy, before its first word."""
MOST_CRASHES = 3
"""How often a provider may crash over one question: another job may be the one that suffers."""
_LONGEST_PAUSE = 30.0
_MUCH_TEXT = 256 * 1024

T = TypeVar("T")
Say = Callable[[str], None]
Flush = Callable[[], None]


class Run:
    """Has a place in the lane of the first step, then in those of the others."""

    def __init__(self, engine: Engine, lanes: Lanes, room: Room, job: Job, lane: Lane) -> None:
        self._engine = engine
        self._lanes = lanes
        self._room = room
        self._job = job
        self._lane: Lane | None = lane
        self._guest: Guest

    async def do(self) -> None:
        """What the last step says, the job's listeners hear.

        Raises:
            WaifuError: Whatever keeps it from its end.
        """
        self._guest = self._engine.enter(client=False, urgency=self._job.urgency)
        try:
            await self._do_all_steps()
        finally:
            self._engine.leave(self._guest)

    def leave(self) -> None:
        """Give back the place that it has."""
        if self._lane:
            self._lane.leave()
            self._lane = None

    async def _do_all_steps(self) -> None:
        job = self._job
        todo = await self._aside(partial(work.read, job.stored.body))
        given = Given(todo.query, todo.history)
        for number, (step, load) in enumerate(zip(todo.steps, job.loads, strict=True), 1):
            await self._move_to(self._lanes.of(load.spec))
            messages = await self._aside(partial(_messages, step, given))
            is_last = number == len(todo.steps)
            say, flush = (job.say, job.flush) if is_last else (_nobody, _nobody)
            text = await self._answer(load, messages, say, flush)
            given = _with(given, step, text)
            self._room.carries(job, len(given.previous) + len(given.summary))

    async def _move_to(self, lane: Lane) -> None:
        if lane is self._lane:
            return
        self.leave()
        with self._room.moving(self._job):
            await lane.enter(self._job)
        self._lane = lane

    async def _aside(self, make: Callable[[], T]) -> T:
        """Where there is much to look through, others are served meanwhile."""
        return await asyncio.to_thread(make) if self._job.size > _MUCH_TEXT else make()

    async def _answer(self, load: Load, messages: list[Message], say: Say, flush: Flush) -> str:
        """An accepted job does not fail because somebody is busy: it asks again, after a while."""
        again = Again()
        while True:
            error, text = await self._try(load, messages, Ear(say, flush))
            if error is None:
                return text
            wait = again.wait(error)
            if text or wait is None:
                raise error
            await asyncio.sleep(wait)

    async def _try(
        self, load: Load, messages: list[Message], ear: Ear
    ) -> tuple[WaifuError | None, str]:
        try:
            await self._load(load.asked)
        except WaifuError as error:
            return error, ""
        generate = Generate(
            unique_request_id=self._job.id,
            provider=load.asked.provider,
            messages=messages,
            params=load.params,
            stream=True,
        )
        self._guest.generate(generate, ear)
        final = await ear.ended
        return final.error, final.response

    async def _load(self, asked: Asked) -> None:
        loading = self._guest.holdings.load(asked)
        await asyncio.wait([loading])
        if loading.cancelled():
            raise Unavailable(f"The load of `{asked.provider}` was given up.")
        loading.result()


class Again:
    """Whether one question is asked again, and when."""

    def __init__(self) -> None:
        self._until = monotonic() + PATIENCE_SECONDS
        self._pause = 0.5
        self._crashes = 0

    def wait(self, error: WaifuError) -> float | None:
        """Seconds until asking again makes sense; None where it does not. Not all ask at once."""
        self._pause = pause = min(2 * self._pause, _LONGEST_PAUSE)
        if error.retry_after_ms is not None:
            pause = error.retry_after_ms / 1000
        elif not error.retryable or self._has_crashed_too_often(error):
            return None
        wait = pause * random.uniform(1.0, 1.25)
        return wait if monotonic() + wait <= self._until else None

    def _has_crashed_too_often(self, error: WaifuError) -> bool:
        self._crashes += isinstance(error, ProviderCrashed)
        return self._crashes >= MOST_CRASHES


class Ear:
    """Listens to one generation for a job. Nobody may be there who would stop one that has no end,
    so it does that."""

    def __init__(self, say: Say, flush: Flush) -> None:
        self.flush = flush
        self.ended: asyncio.Future[Final] = asyncio.get_running_loop().create_future()
        self._say = say
        self._left = MOST_TEXT

    def chunk(self, text: str) -> None:
        self._left -= len(text)
        if self._left >= 0:
            self._say(text)
        elif not self.ended.done():
            self.ended.set_exception(ContextTooLong(f"It said more than {MOST_TEXT} characters."))

    def reasoning(self, text: str) -> None:
        """A job's listeners hear what is said, and not what was thought."""

    def final(self, final: Final) -> None:
        if not self.ended.done():  # it may have been cancelled, with the job
            self.ended.set_result(final)


def _nobody(*_: object) -> None: ...


def _messages(step: Step, given: Given) -> list[Message]:
    return ask_for_summary(step.summary, given) if step.summary else fill(step.messages, given)


def _with(given: Given, step: Step, text: str) -> Given:
    """What the next step is filled with. A summary is for one stream alone."""
    if step.summary:
        return msgspec.structs.replace(given, summary=text.strip())
    return msgspec.structs.replace(given, previous=text, summary="")
