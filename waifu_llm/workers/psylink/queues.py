"""The four lists and what belongs to them, for one worker. Each step is one script."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Iterable

import msgspec
from msgspec import Struct, field
from redis.asyncio import Redis

from waifu_llm.workers.outages import Outages
from waifu_llm.workers.psylink import scripts
from waifu_llm.workers.psylink.config import Properties, RedisPlace
from waifu_llm.workers.psylink.messages import Output, Parked

BLOCK_SECONDS = 2
"""How long Redis holds a question for something new: less than what any client waits for."""
LOOK_SECONDS = 0.25
"""How often a list is looked at in which others' messages lie: Redis would not wait then."""
MOST_PARKED = 1000
PARKED_SECONDS = 86_400
_NOTHING_SEEN = [b"", b"", b""]


class Taken(Struct, frozen=True):
    """A message in hand."""

    raw: bytes
    taken: float
    """When that was, in seconds of Redis' clock: all workers go by the same."""
    deaths: int = 0
    """How many workers died that had it."""
    _taken_here: float = field(default_factory=time.monotonic)

    @property
    def now(self) -> float:
        """By the same clock."""
        return self.taken + time.monotonic() - self._taken_here

    @property
    def mark(self) -> bytes:
        return hashlib.sha1(self.raw).hexdigest().encode()


class Queue:
    """A list that messages come over, and what of it was looked at already."""

    def __init__(self, redis: Redis, name: str, outputs: str) -> None:
        self.name = name
        self.parked = f"{name}:parked"
        self._redis = redis
        self._outputs = outputs
        self._settle = redis.register_script(scripts.SETTLE)
        self._sweep = redis.register_script(scripts.SWEEP)
        self._is_empty = False
        self._seen = _NOTHING_SEEN

    async def wait(self, outages: Outages) -> None:
        """Until there may be something that was not looked at. Only while the list is empty does
        Redis tell; to move the last message to where it is changes nothing."""
        if self._is_empty:
            await outages.through(self._wait_for_a_first)
        else:
            await asyncio.sleep(LOOK_SECONDS)

    async def _wait_for_a_first(self) -> None:
        await self._redis.blmove(self.name, self.name, BLOCK_SECONDS, "RIGHT", "RIGHT")

    def look_anew(self) -> None:
        """What was left may be wanted now."""
        self._is_empty, self._seen = False, _NOTHING_SEEN

    async def _settle_in(
        self, held: str, message: Taken, output: Output | None, parked: Parked | None, expiry: float
    ) -> bool:
        deaths = f"{self.name}:attempts:{message.mark.decode()}"
        keys = [held, self._outputs, self.parked, deaths]
        ends = [_encoded(output), _encoded(parked)]
        limits = [_ms(2 * expiry), _ms(PARKED_SECONDS), MOST_PARKED]
        return bool(await self._settle(keys, [message.raw, *ends, *limits]))

    async def _sweep_away(self, expiry: float) -> None:
        await self._sweep([self._outputs], [expiry, _ms(2 * expiry)])


class PromptQueue(Queue):
    """Prompts. What is taken lies under this worker's seat until it is settled.

    A seat is one life of a worker: two with one id, or one that was started anew, are not mixed up.
    """

    def __init__(self, redis: Redis, place: RedisPlace, worker_id: str) -> None:
        super().__init__(redis, place.prompt_input_queue, place.prompt_output_queue)
        self._looked_for: tuple[int, int] | None = None
        self._seat = f"{worker_id}:{secrets.token_hex(4)}"
        self._taken = f"{self.name}:taken:{self._seat}"
        self._lease = f"{self.name}:lease:{self._seat}"
        self._workers = f"{self.name}:workers"
        self._take = redis.register_script(scripts.TAKE)
        self._keep = redis.register_script(scripts.KEEP)
        self._return = redis.register_script(scripts.RETURN_OF_THE_DEAD)

    async def take(self, bounds: Properties) -> Taken | None:
        """The most urgent one within the bounds, and of those the oldest."""
        keys = [self.name, self._taken, self._lease, self._workers]
        priorities = (bounds.min_priority, bounds.max_priority)
        if priorities != self._looked_for:
            self.look_anew()
        lease = _ms(bounds.lease_seconds)
        attempts = f"{self.name}:attempts:"
        asked: list[str | bytes | int] = [*priorities, *self._seen, self._seat, lease, attempts]
        length, *found = await self._take(keys, asked)
        self._is_empty, self._seen, self._looked_for = length == 0, found[:3], priorities
        if not found[3:]:
            return None
        raw, deaths, now = found[3:]
        return Taken(raw, float(now), int(deaths))

    async def settle(
        self, message: Taken, expiry: float, output: Output | None, parked: Parked | None
    ) -> bool:
        """The end of it. False where it is no longer in this hand: somebody else's, or settled
        already by a step whose answer was lost."""
        return await self._settle_in(self._taken, message, output, parked, expiry)

    async def keep(self, held: Iterable[Taken], lease_seconds: float) -> set[bytes]:
        """This worker lives, and knows of these. Returns the marks of those that it has lost."""
        keys = [self.name, self._taken, self._lease, self._workers]
        marks = [each.mark for each in held]
        return set(await self._keep(keys, [self._seat, _ms(lease_seconds), *marks]))

    async def tidy(self, expiry: float) -> int:
        """See to what dead workers had, and to outputs that nobody fetched. Returns how many
        prompts went back."""
        prefixes = [f"{self.name}:{each}:" for each in ("taken", "lease", "attempts")]
        kept = _ms(2 * expiry)
        returned = int(await self._return([self.name, self._workers], [*prefixes, kept]))
        await self._sweep_away(expiry)
        return returned

    async def leave(self) -> None:
        """Give back whatever is in hand, and go."""
        await self.keep([], 1.0)
        async with self._redis.pipeline(transaction=True) as step:
            step.delete(self._lease)
            step.srem(self._workers, self._seat)
            await step.execute()


class CommandQueue(Queue):
    """Commands. One stays in the list until it is answered, and bears being done twice."""

    def __init__(self, redis: Redis, place: RedisPlace, worker_id: str) -> None:
        super().__init__(redis, place.command_input_queue, place.command_output_queue)
        self._worker_id = worker_id
        self._find = redis.register_script(scripts.FIND_COMMAND)

    async def find(self) -> Taken | None:
        """The oldest that is for this worker."""
        length, *found = await self._find([self.name], [self._worker_id, *self._seen[:2]])
        self._is_empty, self._seen = length == 0, found[:2]
        if not found[2:]:
            return None
        self.look_anew()
        raw, now = found[2:]
        return Taken(raw, float(now))

    async def settle(
        self, message: Taken, expiry: float, output: Output | None, parked: Parked | None
    ) -> bool:
        """The end of it. False where another worker of the same id was faster."""
        return await self._settle_in(self.name, message, output, parked, expiry)

    async def tidy(self, expiry: float) -> None:
        """See to answers that nobody fetched, and to commands that nobody obeyed."""
        await self._sweep_away(expiry)
        await self._sweep([self.name], [expiry, ""])


def _encoded(message: Struct | None) -> bytes:
    return msgspec.json.encode(message) if message else b""


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
