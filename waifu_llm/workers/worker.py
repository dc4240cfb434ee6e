"""The far side: a machine that takes errands from Redis and does them.

It tells again and again that it is there, and what it has under way: whoever says nothing for as
long as a lease has lost it. It can be stopped and killed at any time.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from contextlib import suppress

from waifu_llm.engine import Engine
from waifu_llm.errors import Unavailable, WaifuError
from waifu_llm.tasks import Tasks, end
from waifu_llm.wire import ProviderFailure
from waifu_llm.workers import events
from waifu_llm.workers.events import Event
from waifu_llm.workers.keeping import Keeping
from waifu_llm.workers.link import Link
from waifu_llm.workers.mouth import Entry, Mouth
from waifu_llm.workers.names import GROUP, UNUSED_SECONDS, Names
from waifu_llm.workers.offers import Offers
from waifu_llm.workers.parked import park
from waifu_llm.workers.presence import Presence
from waifu_llm.workers.run import Run
from waifu_llm.workers.scripts import TIDY
from waifu_llm.workers.taker import Found, Taker

MOST_ATTEMPTS = 5
_BEATS = 10
"""So often in each lease it says that it is there."""
_OFFERS_SECONDS = 30.0
_TOLD_AT_ONCE = 1000
_LOOKS_EVERY_SECONDS = 1.0
log = logging.getLogger("waifu_llm.workers")


class Worker:
    """One of them. `open` it, then wait `until_drained`; `close` it whatever became of that."""

    def __init__(
        self, engine: Engine, link: Link, names: Names, offers: Offers, *, name: str, lease: float
    ) -> None:
        self.id = f"{name}-{secrets.token_hex(3)}"
        self._engine = engine
        self._link = link
        self._names = names
        self._offers = offers
        self._lease = lease
        self._mouth = Mouth(link, names, self.id)
        self._keeping = Keeping(link, names, self.id)
        self._presence = Presence(link, names, self.id, lease)
        self._runs: dict[str, Run] = {}
        self._takers: dict[str, Taker] = {}
        self._takings: list[asyncio.Task[None]] = []
        self._beats: list[asyncio.Task[None]] = []
        self._tasks = Tasks()
        self._draining = asyncio.Event()
        self._has_fetched = asyncio.Event()

    async def open(self) -> None:
        """See what there is to offer, and begin to take, as soon as Redis answers.

        Raises:
            Unavailable: When it refuses us, or is too old.
        """
        await self._link.reach()
        await self._offer()
        beats = self._beat, self._listen, self._renew
        self._beats = [asyncio.create_task(each()) for each in beats]

    async def until_drained(self) -> None:
        """Until somebody says so, and what it had then is done. A Redis that stays away then is
        not waited for longer than a lease: others have its work by that time."""
        await self._draining.wait()
        finishing, away = asyncio.create_task(self._finish()), 0.0
        while not finishing.done() and away < self._lease:
            await asyncio.wait([finishing], timeout=_LOOKS_EVERY_SECONDS)
            away = away + _LOOKS_EVERY_SECONDS if self._link.trouble else 0.0
        finishing.cancel()
        await asyncio.gather(finishing, return_exceptions=True)

    def drain(self) -> None:
        """Finish what it has, take no more."""
        self._draining.set()
        for taker in self._takers.values():
            taker.drain()

    async def close(self) -> None:
        """What it has yet is another's, after a lease."""
        takings = list(self._takings)
        for each in takings:
            each.cancel()
        self._tasks.cancel()
        await end(self._beats)
        await asyncio.gather(*takings, return_exceptions=True)
        await self._presence.say_goodbye()
        await self._link.close()

    async def _finish(self) -> None:
        await asyncio.gather(*self._takings)
        await self._tasks.over()
        await self._mouth.over()

    # What it takes

    def _begin(self, found: Found) -> asyncio.Task[None] | None:
        try:
            errand = events.decode_errand(found.fields.get(b"d", b""))
        except events.UNREADABLE as exc:
            self._park(found, f"It cannot be read: {exc}.")
            return None
        attempt = errand.tries + found.taken_before
        entry = Entry(found.stream, found.id, errand, attempt)
        if self._has(entry):
            return None  # it could not be kept for a while, and was claimed from ourselves
        if attempt > MOST_ATTEMPTS:
            self._refuse(found, entry)
            return None
        run = Run(self._engine, self._mouth, entry, self.id)
        self._runs[run.id] = run
        return self._tasks.start(self._do(run))

    def _has(self, entry: Entry) -> bool:
        mine = (run.entry for run in self._runs.values())
        return any((each.stream, each.id) == (entry.stream, entry.id) for each in mine)

    async def _do(self, run: Run) -> None:
        try:
            await run.do()
        finally:
            del self._runs[run.id]
            self._presence.count(failed=run.has_failed)
            if run.entry.errand.op == "pull":
                self._has_fetched.set()

    def _refuse(self, found: Found, entry: Entry) -> None:
        """Whoever had it died of it, or so it seems."""
        why = f"It was begun {MOST_ATTEMPTS} times, and each time its worker was lost."
        run, back = secrets.token_hex(6), entry.errand.back
        failure = ProviderFailure(Unavailable.code, f"{why} It is not begun once more.")
        last = entry.attempt
        self._mouth.say(back, Event(entry.errand.id, run, 1, taken=self.id, attempt=last))
        self._mouth.say(back, Event(entry.errand.id, run, 2, error=failure))
        self._mouth.flush()
        self._park(found, why)

    def _park(self, found: Found, why: str) -> None:
        log.warning("an errand is parked: %s", why)

        async def put() -> None:
            await park(self._link, self._names, self.id, found, why)

        self._tasks.start(self._link.surely(put))

    # What it says of itself

    async def _beat(self) -> None:
        while True:
            await self._link.surely(self._say_that_it_is_there)
            await asyncio.sleep(self._lease / _BEATS)

    async def _say_that_it_is_there(self) -> None:
        runs = self._runs.values()
        await self._keeping.keep(runs)
        self._presence.is_draining = self._draining.is_set()
        busy = Counter(run.entry.errand.source.provider for run in runs)
        await self._presence.say(self._offers.now(busy))

    # What it is told

    async def _listen(self) -> None:
        mine, last = self._names.to(self.id), b"0-0"
        while True:
            told = await self._link.read(mine, last, _TOLD_AT_ONCE)
            for _, fields in told:
                self._obey(fields)
            if told:
                last = told[-1][0]
                await self._forget(mine, [id for id, _ in told])

    async def _forget(self, mine: str, heard: list[bytes]) -> None:
        """And no more than that: something may have come since."""
        await self._link.surely(lambda: self._link.redis.xdel(mine, *heard))

    def _obey(self, fields: dict[bytes, bytes]) -> None:
        if run := self._runs.get(fields.get(b"stop", b"").decode()):
            run.stop()

    # What it offers

    async def _renew(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_OFFERS_SECONDS):
                    await self._has_fetched.wait()
            self._has_fetched.clear()
            try:
                await self._offer()
            except WaifuError as error:
                log.warning("%s", error.message)
            await self._link.surely(self._tidy)

    async def _tidy(self) -> None:
        streams = [each for taker in self._takers.values() for each in taker.streams]
        about = [GROUP, UNUSED_SECONDS, UNUSED_SECONDS * 1000]
        if streams:
            await TIDY.run(self._link.redis, streams, *about)

    async def _offer(self) -> None:
        for provider, offer in (await self._offers.look()).items():
            taker = self._takers.get(provider)
            if taker is None and not self._draining.is_set():
                taker = Taker(
                    self._link,
                    self._names,
                    self.id,
                    places=offer.places,
                    lease=self._lease,
                    begin=self._begin,
                )
                self._takers[provider] = taker
                self._takings.append(asyncio.create_task(taker.run()))
            if taker:
                taker.routes = offer.routes(provider)
        for provider in self._takers.keys() - self._offers.now({}).keys():
            self._takers[provider].routes = []
