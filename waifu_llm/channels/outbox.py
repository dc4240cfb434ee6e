"""Brings answers to their people: again after a while, where that may help and does no harm."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable

from waifu_llm.channels import parcels
from waifu_llm.channels.channel import Channel, Delivered, Parcel
from waifu_llm.channels.store import Store
from waifu_llm.chats.transaction import Transaction
from waifu_llm.errors import WaifuError
from waifu_llm.turns import Turns

CARRIERS = 4
"""How many parcels of a channel are on their way at a time."""
FIRST_PAUSE, LONGEST_PAUSE = 60.0, 4 * 3600.0
MOST_TRIES = 12
"""Over about a day."""
LOOK_SECONDS = 30.0
_AWAY_SECONDS = 5.0
_LAST_SECONDS = 1.5
log = logging.getLogger("waifu_llm.channels")


class Outbox:
    """The one of a channel. What is in it is in the store."""

    def __init__(self, channel: Channel, store: Store, trouble: Callable[[str], None]) -> None:
        self._channel = channel
        self._store = store
        self._trouble = trouble
        self._something = asyncio.Event()
        self._turns = Turns()
        self._is_closing = False
        self._looking = asyncio.Lock()
        self._in_hand: set[str] = set()
        """The ids of what is being brought, until it is noted what came of it."""
        self._carriers: list[asyncio.Task[None]] = []
        self._counts: Counter[str] = Counter()

    async def open(self) -> None:
        name, again = self._channel.name, self._channel.sends_again
        count = await self._store.write(
            lambda each: parcels.left_over(each, name, sends_again=again)
        )
        if count and not again:
            self._trouble(f"Of {count} answers it is not known whether they were sent.")

    def begin(self) -> None:
        self._carriers = [asyncio.create_task(self._carry()) for _ in range(CARRIERS)]

    async def close(self) -> None:
        """What is being brought gets a moment: whether it arrived would not be known."""
        self._is_closing = True
        self._something.set()
        if not self._carriers:
            return
        await asyncio.wait(self._carriers, timeout=_LAST_SECONDS)
        for each in self._carriers:
            each.cancel()
        await asyncio.wait(self._carriers)

    def wake(self) -> None:
        self._something.set()

    def status(self) -> dict[str, int]:
        return dict(self._counts)

    async def _carry(self) -> None:
        """Until it is closed."""
        while not self._is_closing:
            try:
                if parcel := await self._next():
                    await self._bring(parcel)
                    continue
                await self._wait()
            except WaifuError as error:
                log.warning("channel %s sends nothing now: %s", self._channel.name, error)
                await asyncio.sleep(_AWAY_SECONDS)
            except Exception as exc:
                log.error("a fault of the module", exc_info=exc)
                await asyncio.sleep(_AWAY_SECONDS)

    async def _next(self) -> Parcel | None:
        """One carrier looks at a time, so that what nobody has in hand is known."""
        async with self._looking:
            self._something.clear()
            parcel = await self._store.write(self._taken)
            if parcel:
                self._in_hand.add(parcel.id)
            return parcel

    async def _taken(self, transaction: Transaction) -> Parcel | None:
        await parcels.put_back(transaction, self._channel.name, self._in_hand)
        return await parcels.next_one(transaction, self._channel.name)

    async def _wait(self) -> None:
        """Until there is something, or something is due again."""
        due = await self._store.read(lambda each: parcels.next_due(each, self._channel.name))
        seconds = LOOK_SECONDS if due is None else min(LOOK_SECONDS, due - time.time())
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._something.wait()
        except TimeoutError:
            pass

    async def _bring(self, parcel: Parcel) -> None:
        async with self._turns.turn(parcel.address):
            try:
                came = await self._channel.deliver(parcel)
            except Exception as exc:  # a stranger's channel may raise anything
                came = Delivered("maybe", f"its channel failed: {exc!r}")
        if came.outcome == "later" and parcel.tries >= MOST_TRIES:
            came = Delivered("refused", f"given up after {MOST_TRIES} tries: {came.why}")
        await self._note(parcel, came)
        self._counts[came.outcome] += 1
        if came.outcome != "sent":
            self._trouble(f"An answer was not sent ({came.outcome}): {came.why}")

    async def _note(self, parcel: Parcel, came: Delivered) -> None:
        """Until it is noted: a parcel that went must not go again."""

        async def work(transaction: Transaction) -> None:
            if came.outcome == "later":
                pause = min(FIRST_PAUSE * 2 ** (parcel.tries - 1), LONGEST_PAUSE)
                await parcels.again(transaction, parcel.id, pause)
            else:
                await parcels.gone(transaction, parcel.id, came.outcome)

        while True:
            try:
                await self._store.write(work)
                self._in_hand.discard(parcel.id)
                return
            except WaifuError as error:
                log.warning("channel %s: %s", self._channel.name, error)
                await asyncio.sleep(_AWAY_SECONDS)
