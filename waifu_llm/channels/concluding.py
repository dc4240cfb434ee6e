"""How a message ends: its answer is kept, together with who brings it, in one transaction; or that
there is none.

A commit may have come through though it seems to have failed. It is tried again, and so each looks
first what is there already.
"""

from __future__ import annotations

import asyncio
import logging

from waifu_llm.channels import parcels, people, received, spending
from waifu_llm.channels.desk import AWAY_SECONDS, Desk
from waifu_llm.channels.outbox import Outbox
from waifu_llm.channels.people import Person
from waifu_llm.channels.received import Received
from waifu_llm.channels.talk import Question
from waifu_llm.channels.work import Work
from waifu_llm.chats.database import StoreAway
from waifu_llm.chats.execution import NOT_NOW
from waifu_llm.chats.transaction import Transaction
from waifu_llm.errors import Busy, WaifuError

log = logging.getLogger("waifu_llm.channels")


class Conclusion:
    """One message's, whose answer is there."""

    def __init__(
        self,
        desk: Desk,
        outbox: Outbox,
        message: Received,
        question: Question | None,
        said: str,
    ) -> None:
        """Without a question it is an excuse, which is no part of the conversation."""
        self._desk = desk
        self._outbox = outbox
        self._message = message
        self._question = question
        self._text, self._cost = desk.channel.shape(said)

    async def reach(self, work: Work) -> str:
        """The text, where whoever waits is to say it; else the outbox has it. Over an outage of the
        store, for the model need not be asked again; nobody need wait for it then."""
        while True:
            try:
                return await self._reach(work)
            except (StoreAway, Busy) as error:
                log.info("channel %s answers later: %s", self._desk.name, error)
                work.is_decided = False
                if self._desk.is_closing:
                    raise
            await asyncio.sleep(AWAY_SECONDS)

    async def _reach(self, work: Work) -> str:
        desk = self._desk
        async with desk.counting:
            work.is_decided, work.text = True, self._text
            by_us = not work.is_waited_for
            try:
                state, by_us = await desk.store.write(lambda each: self._kept(each, by_us))
            except (*NOT_NOW, Busy):
                raise
            except WaifuError as error:  # the chat went meanwhile
                desk.trouble(f"An answer is not said: {error.message}")
                return await settle(desk, self._message, "refused")
        desk.counts[state] += 1
        if not by_us:
            return self._text if state == "answered" else ""
        work.is_waited_for = False
        self._outbox.wake()
        return ""

    async def _kept(self, transaction: Transaction, by_us: bool) -> tuple[str, bool]:
        """What came of it, and whether the outbox has it: also where an earlier answer is still on
        its way, which this one would overtake."""
        name, engine, message = self._desk.name, self._desk.store.engine, self._message
        state = await received.state_of(transaction, name, message.key)
        if state != "accepted":
            return await self._kept_before(transaction, state, by_us)
        person = await people.find_or_make(transaction, engine, name, message.address)
        if why := await self._why_not(transaction, person):
            self._desk.trouble(f"Somebody is not answered: {why}.")
            await spending.note_reply(transaction, name, person.who, 0)  # the model was asked
            await received.settle(transaction, name, message.key, "refused")
            return "refused", by_us
        if self._question:
            await self._desk.talk.keep(transaction, self._question, self._text)
        await spending.note_reply(transaction, name, person.who, self._cost)
        by_us = by_us or await parcels.are_under_way(transaction, name, message.address)
        await received.settle(transaction, name, message.key, "answered" if by_us else "saying")
        if by_us:
            await self._send(transaction, person.user)
        return "answered", by_us

    async def _kept_before(
        self, transaction: Transaction, state: str | None, by_us: bool
    ) -> tuple[str, bool]:
        """By us, or whoever wrote it is deleted. Who was to say it may be gone by now."""
        if state != "saying":
            return state or "deleted", by_us or state == "answered"
        if by_us:
            name, message = self._desk.name, self._message
            person = await people.find(transaction, name, message.address)
            if person and await received.said(transaction, name, [message.key]):
                await self._send(transaction, person.user)
        return "answered", by_us

    async def _send(self, transaction: Transaction, user: int) -> None:
        to = user, self._message.address
        await parcels.send(transaction, self._desk.name, *to, self._text, self._message.about)

    async def _why_not(self, transaction: Transaction, person: Person) -> str:
        """Much may have changed while the model was asked."""
        desk = self._desk
        if person.stopped:
            return "nothing more is wanted"
        if await spending.is_too_dear(transaction, desk.name, person.who, desk.limits, self._cost):
            return "the limit of costs is reached"
        return ""


async def settle(desk: Desk, message: Received, state: str, asked: Person | None = None) -> str:
    """Without an answer. `asked` is for whom the model was: that counts, though nothing is said."""

    async def work(transaction: Transaction) -> None:
        await received.settle(transaction, desk.name, message.key, state)
        if asked:
            await spending.note_reply(transaction, desk.name, asked.who, 0)

    await desk.store.write(work)
    desk.counts[state] += 1
    return ""
