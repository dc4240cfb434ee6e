"""Prompts in hand: each is answered and settled, whatever becomes of it, and no more than there are
places for."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from functools import partial

from waifu_llm.errors import Interrupted, ProviderCrashed, Timeout, Unexpected, WaifuError
from waifu_llm.tasks import Tasks
from waifu_llm.workers.outages import Outages
from waifu_llm.workers.psylink.config import Properties
from waifu_llm.workers.psylink.messages import (
    Output,
    Parked,
    Prompt,
    answer_to,
    failure_of,
    park,
    read_prompt,
)
from waifu_llm.workers.psylink.model import Model
from waifu_llm.workers.psylink.queues import PromptQueue, Taken

MOST_ATTEMPTS = 5
"""Of one worker at a prompt, and of workers that die of it."""
_LONGEST_PAUSE = 30.0
_SETTLED_AT_ONCE = 8
"""Each needs a connection, and neither Redis nor its client gives out any number of them."""

log = logging.getLogger("waifu_llm.workers.psylink")


class Work:
    """One prompt that was taken."""

    def __init__(self, taken: Taken) -> None:
        self.taken = taken
        self.task: asyncio.Task[None]
        self.is_settling = False


class Prompts:
    """All that this worker has in hand."""

    def __init__(
        self, queue: PromptQueue, model: Model, outages: Outages, worker_id: str, limit: int
    ) -> None:
        self.answered = self.failed = 0
        self.changed = asyncio.Event()
        """Set whenever one is over."""
        self._queue = queue
        self._model = model
        self._outages = outages
        self._worker_id = worker_id
        self._limit = limit
        self._works: set[Work] = set()
        self._tasks = Tasks()
        self._settling = asyncio.Semaphore(_SETTLED_AT_ONCE)
        self._turn = asyncio.Lock()
        """Between Redis' taking and our knowing of it, nobody asks what is in hand."""

    def __len__(self) -> int:
        return len(self._works)

    async def take(self, bounds: Properties, may_take: Callable[[], bool]) -> bool:
        """Begin with one more. False where none is there for us. Who was told to take no more while
        Redis was asked gives it back."""
        async with self._turn:
            taken = await self._outages.through(partial(self._queue.take, bounds))
            if taken is None:
                return False
            if not may_take():
                await self._keep(bounds.lease_seconds)
                return False
            work = Work(taken)
            self._works.add(work)
            work.task = self._tasks.start(self._do(work, bounds.expiry_seconds))
        return True

    async def keep(self, lease_seconds: float) -> None:
        """Say that this worker lives. What it has lost to another meanwhile, it stops."""
        async with self._turn:
            gone = await self._keep(lease_seconds)
        for work in self._works:
            if work.taken.mark in gone and not work.is_settling:
                work.task.cancel()

    async def _keep(self, lease_seconds: float) -> set[bytes]:
        held = [each.taken for each in self._works]
        return await self._outages.through(partial(self._queue.keep, held, lease_seconds))

    async def over(self) -> None:
        """Until all are."""
        await self._tasks.over()

    async def stop(self) -> None:
        """At once. What is not answered is not settled either."""
        self._tasks.cancel()
        await self._tasks.over()

    async def _do(self, work: Work, expiry: float) -> None:
        try:
            output, parked = await self._outcome(work.taken, expiry)
            work.is_settling = True
            settle = partial(self._queue.settle, work.taken, expiry, output, parked)
            async with self._settling:
                if await self._outages.through(settle):
                    self._count(output)
        except Interrupted:
            pass  # the module closes: what is not settled goes back, for others
        finally:
            self._works.discard(work)
            self.changed.set()

    def _count(self, output: Output | None) -> None:
        if output and not output.error:
            self.answered += 1
        else:
            self.failed += 1

    async def _outcome(self, taken: Taken, expiry: float) -> tuple[Output | None, Parked | None]:
        """What the client hears, and what is put aside. Who sent something that cannot be read, or
        long ago, waits for nothing that we could send."""
        try:
            prompt = read_prompt(taken.raw, self._limit)
            _see_that_it_is_in_time(prompt, taken, expiry)
        except WaifuError as error:
            return None, self._park(taken, error)
        try:
            text = await self._answer(prompt, taken)
        except Interrupted:
            raise
        except WaifuError as error:
            return self._failure(prompt, taken, error)
        except Exception as exc:  # given back, it would be taken again, and again
            log.exception("a fault of the module")
            fault = Unexpected(f"A fault of the module: {exc!r}. Please report it.")
            return self._failure(prompt, taken, fault)
        return answer_to(prompt, self._worker_id, text, taken.now), None

    def _failure(self, prompt: Prompt, taken: Taken, error: WaifuError) -> tuple[Output, Parked]:
        failure = failure_of(prompt, self._worker_id, error, taken.now)
        return failure, self._park(taken, error)

    async def _answer(self, prompt: Prompt, taken: Taken) -> str:
        """What fails for now is tried again, after longer and longer pauses."""
        if taken.deaths >= MOST_ATTEMPTS:
            raise ProviderCrashed(f"{taken.deaths} workers died while they had this prompt.")
        for attempt in range(1, MOST_ATTEMPTS):
            try:
                return await self._model.answer(prompt.input)
            except WaifuError as error:
                if not error.retryable:
                    raise
                log.info("An attempt failed with %s, and another follows.", error.code)
                await asyncio.sleep(_pause(error, attempt))
        return await self._model.answer(prompt.input)

    def _park(self, taken: Taken, error: WaifuError) -> Parked:
        log.warning(
            "A prompt is put aside, with %s: `%s` says why.", error.code, self._queue.parked
        )
        return park(taken.raw, self._worker_id, error, taken.now, self._limit)


def _see_that_it_is_in_time(prompt: Prompt, taken: Taken, expiry: float) -> None:
    """
    Raises:
        Timeout: When whoever sent it has given it up.
    """
    age = taken.taken - prompt.timestamp
    if age > expiry:
        raise Timeout(f"It waited for {age:.0f} s, and expires after {expiry:g} s.")


def _pause(error: WaifuError, attempt: int) -> float:
    """Not all who failed together try again together."""
    seconds = 0.5 * 2**attempt if error.retry_after_ms is None else error.retry_after_ms / 1000
    return min(seconds, _LONGEST_PAUSE) * random.uniform(0.75, 1.25)
