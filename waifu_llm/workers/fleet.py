"""The module's side: sends errands to the workers, and hears what becomes of them.

Redis carries them, and may forget. Whoever waits is here, so here is known what has not been done:
what Redis has no more is put in again, and what a dead worker had begun to say is ended.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import Any

import msgspec

from waifu_llm.backend import Sink, Urgency
from waifu_llm.config import Config
from waifu_llm.errors import Unavailable, WaifuError
from waifu_llm.tasks import Tasks, end
from waifu_llm.workers import events
from waifu_llm.workers.entrance import Entrance
from waifu_llm.workers.events import Errand
from waifu_llm.workers.link import Link
from waifu_llm.workers.names import UNUSED_SECONDS, Names
from waifu_llm.workers.outages import FAILURES
from waifu_llm.workers.queues import Queue, queues
from waifu_llm.workers.roll import Roll
from waifu_llm.workers.sent import Sent, Tell
from waifu_llm.workers.watch import Watch

_LOOKS_EVERY_SECONDS = 1.0
_FIRST_SECONDS = 2.0
_GOODBYE_SECONDS = 1.0
_AT_ONCE = 1000
log = logging.getLogger("waifu_llm.workers")


class Fleet:
    """All workers of one Redis, as this module sees them."""

    def __init__(self, link: Link, names: Names, *, lease: float, most_waiting: int) -> None:
        self.id = secrets.token_hex(8)
        self.roll = Roll(link, names)
        self._link = link
        self._names = names
        self._sent: dict[str, Sent] = {}
        self._tasks = Tasks()
        self._loops: list[asyncio.Task[None]] = []
        self._entrance = Entrance(link, names, self.roll, lease, most_waiting)
        self._watching = Watch(link, names, self.roll, lease, self._enter_again)
        self._heard = b"0-0"
        self._is_known = False
        """Whether Redis was seen to be one that will do."""
        self._queues: list[Queue] = []
        self._parked = 0

    @classmethod
    def of(cls, link: Link, config: Config) -> Fleet:
        return cls(
            link,
            Names(config.workers_name),
            lease=config.worker_lease_seconds,
            most_waiting=config.max_waiting,
        )

    async def open(self) -> None:
        """A Redis that does not answer yet is waited for behind an open door.

        Raises:
            Unavailable: When it refuses us, or is too old.
        """
        try:
            async with asyncio.timeout(_FIRST_SECONDS):
                await self._see_what_it_is()
                await self.roll.look()
        except FAILURES as exc:
            self._link.outages.tell(exc)
        loops = self._hear, self._look_after, self._survey
        self._loops = [asyncio.create_task(each()) for each in loops]

    async def close(self) -> None:
        """What workers still do for this module is stopped by them, when its lease has ended."""
        for each in list(self._sent.values()):
            each.fail(Unavailable("The module is shutting down."))
        await self._say_goodbye()
        self._tasks.cancel()
        await end(self._loops)
        await self._tasks.over()
        await self._link.close()

    async def _say_goodbye(self) -> None:
        mine = self._names.module(self.id), self._names.back(self.id)
        with suppress(TimeoutError, *FAILURES):  # it all expires
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await self._tasks.over()
                await self._link.redis.delete(*mine)

    def status(self) -> dict[str, Any]:
        trouble = {"message": self._link.trouble} if self._link.trouble else {}
        return {
            "redis": self._link.place,
            "state": "not connected" if trouble else "connected",
            **trouble,
            "waiting": sum(each.worker is None for each in self._sent.values()),
            "running": sum(each.worker is not None for each in self._sent.values()),
            "workers": msgspec.to_builtins(self.roll.workers),
            "queues": msgspec.to_builtins(self._queues),
            "parked": self._parked,
        }

    # Sending

    def send(
        self, errand: Errand, urgency: Urgency, sink: Sink, progress: Tell | None = None
    ) -> Sent:
        """Raises nothing: what goes wrong reaches the Sink."""
        sent = Sent(self, errand, urgency, sink, progress)
        sent.still_waits()
        self._sent[errand.id] = sent
        sent.over.add_done_callback(lambda _: self._sent.pop(errand.id, None))
        self._tasks.start(self._entrance.enter(sent))
        return sent

    def refuse(self, errand: Errand, sink: Sink, error: WaifuError) -> Sent:
        """One that is over before it is sent."""
        sent = Sent(self, errand, "live", sink)
        sent.fail(error)
        return sent

    def errand(self, **fields: Any) -> Errand:
        return Errand(id=secrets.token_hex(8), back=self.id, **fields)

    # What is said to workers

    def stop(self, worker: str, run: str) -> None:
        async def tell() -> None:
            to = self._names.to(worker)
            await self._link.redis.xadd(to, {"stop": run}, maxlen=_AT_ONCE)
            await self._link.redis.expire(to, UNUSED_SECONDS)

        self._tasks.start(self._link.surely(tell))

    def withdraw(self, sent: Sent) -> None:
        stream, entry = sent.stream, sent.entry or b""
        self._tasks.start(self._link.surely(lambda: self._link.redis.xdel(stream, entry)))

    # What workers say

    async def _hear(self) -> None:
        back = self._names.back(self.id)
        while True:
            for id, fields in await self._link.read(back, self._heard, _AT_ONCE):
                self._heard = id
                self._take(fields.get(b"e", b""))

    def _take(self, value: bytes) -> None:
        """Whatever is wrong with it, the next is heard."""
        touched: dict[Sink, None] = {}
        try:
            for event in events.apart(value):
                self._give(event, touched)
        except events.UNREADABLE as exc:
            log.error("a worker said what cannot be read: %s", exc)
        except Exception as exc:
            log.error("a fault of the module", exc_info=exc)
        for sink in touched:
            sink.flush()

    def _give(self, event: events.Event, touched: dict[Sink, None]) -> None:
        if event.taken is not None:
            self.roll.took(event.taken)
        sent = self._sent.get(event.errand)
        if sent is None:
            if event.taken is not None:  # nobody waits for it any more
                self.stop(event.taken, event.run)
        elif sink := sent.take(event):
            touched[sink] = None

    async def _look_after(self) -> None:
        """See who is there, and what became of all that was sent."""
        while True:
            await asyncio.sleep(_LOOKS_EVERY_SECONDS)
            try:
                await self._look()
            except (*FAILURES, Unavailable) as exc:
                self._link.outages.tell(exc)
                for each in self._sent.values():
                    each.is_out_of_reach()
            except Exception as exc:
                log.error("a fault of the module", exc_info=exc)
            else:
                self._link.outages.tell(None)

    async def _look(self) -> None:
        await self._see_what_it_is()
        await self._watching.look(self.id, list(self._sent.values()))
        await self._forget_what_was_heard()

    async def _see_what_it_is(self) -> None:
        """Once.

        Raises:
            Unavailable: When it refuses us, or is too old.
            RedisError, OSError: When it does not answer.
        """
        if not self._is_known:
            await self._link.check()
            self._is_known = True

    async def _forget_what_was_heard(self) -> None:
        """It need not lie there any more."""
        stamp, number = self._heard.decode().split("-")
        next_one = f"{stamp}-{int(number) + 1}"
        await self._link.redis.xtrim(self._names.back(self.id), minid=next_one, approximate=False)

    async def _survey(self) -> None:
        """The queues, which all modules share. Apart from the other looks, which nobody may hold
        up."""
        while True:
            with suppress(*FAILURES):  # who looks after everything tells of that
                self._queues = await queues(self._link, self._names)
                self._parked = int(await self._link.redis.xlen(self._names.parked))
            await asyncio.sleep(_LOOKS_EVERY_SECONDS)

    def _enter_again(self, sent: Sent) -> None:
        self._tasks.start(self._entrance.enter(sent))
