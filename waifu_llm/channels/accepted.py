"""Messages that were accepted: each is answered once, in the order of its person.

One is in the store before anybody is told that it was taken, and leaves it with its answer in one
transaction. What the end of the module interrupts is taken up again after the next start.
"""

from __future__ import annotations

import asyncio
import logging

from waifu_llm.asking import Closing
from waifu_llm.channels import parcels, people, received, spending, stops
from waifu_llm.channels.channel import Said, Taken
from waifu_llm.channels.desk import Desk
from waifu_llm.channels.outbox import Outbox
from waifu_llm.channels.people import Person
from waifu_llm.channels.received import Received
from waifu_llm.channels.saying import Saying
from waifu_llm.channels.talk import Question
from waifu_llm.channels.whose import who
from waifu_llm.channels.work import Work
from waifu_llm.chats.database import StoreAway
from waifu_llm.chats.execution import NOT_NOW
from waifu_llm.chats.transaction import Transaction
from waifu_llm.errors import Busy, WaifuError
from waifu_llm.tasks import Tasks

MOST_TRIES = 5
"""How often one is taken up again that the module does not survive."""
_AWAY_SECONDS = 5.0
log = logging.getLogger("waifu_llm.channels")


class Accepted:
    """Those of one channel."""

    def __init__(self, desk: Desk, outbox: Outbox) -> None:
        self._desk = desk
        self._outbox = outbox
        self._saying = Saying(desk, outbox)
        self._tasks = Tasks()
        self._under_way: dict[str, Work] = {}
        self._is_closing = False

    async def open(self) -> None:
        await self._saying.open()
        await self.resume()

    async def close(self) -> None:
        """What is under way is put down; it is in the store. But what is decided is said: whoever
        waits for it is the only one who has it."""
        self._is_closing = True
        for work in self._under_way.values():
            if work.task and not work.is_decided:
                work.task.cancel()
        await self._tasks.over()
        await self._saying.close()

    async def resume(self) -> None:
        """Take up what is accepted and nobody works on: all of it, for what comes now is behind."""
        known, name = list(self._under_way), self._desk.name
        found = await self._desk.store.write(lambda each: received.unanswered(each, name, known))
        for message in found:
            if message.key not in self._under_way:
                self._start(message, Work())

    async def take(self, said: Said, within: float) -> Taken:
        """See `Conversations.take`. Of copies that come together one is taken."""
        key = received.key_of(said.id)
        if key in self._under_way:
            return Taken("known")
        self._desk.see_that_there_is_room()
        work = self._under_way[key] = Work()
        state = ""
        try:
            state = await self._accept(said)
        finally:
            if state != "accepted":
                del self._under_way[key]
        if state != "accepted":
            return Taken("known" if state == "known" else "refused")
        work.is_waited_for = within > 0
        message = Received(key, said.person, said.text, dict(said.about), 0)
        self._start(message, work)
        if not work.is_waited_for:
            return Taken("later")
        return await self._saying.wait(message, work, within)

    async def _accept(self, said: Said) -> str:
        desk = self._desk
        if not desk.allows(said.person):
            desk.counts["refused"] += 1
            return "refused"
        async with desk.counting:
            state, why = await desk.store.write(lambda each: self._accepted(each, said))
        desk.counts[state] += 1
        if why:
            desk.trouble(f"Somebody is not answered: the limit is {why}.")
        return state

    async def _accepted(self, transaction: Transaction, said: Said) -> tuple[str, str]:
        desk = self._desk
        if await received.is_known(transaction, desk.name, received.key_of(said.id)):
            return "known", ""
        whose = who(said.person)
        why = await spending.why_not(transaction, desk.name, whose, desk.limits)
        if why or await stops.has_stopped(transaction, desk.name, whose):
            known = await people.find(transaction, desk.name, said.person)
            if known:  # and nothing is kept of who is not
                await received.accept(transaction, desk.name, known.number, said, "refused")
            return "refused", why or ""
        person = await people.find_or_make(transaction, desk.store.engine, desk.name, said.person)
        await received.accept(transaction, desk.name, person.number, said, "accepted")
        return "accepted", ""

    # Answering

    def _start(self, message: Received, work: Work) -> None:
        self._under_way[message.key] = work
        self._desk.waiting += 1
        work.task = self._tasks.start(self._answer(message, work))

    async def _answer(self, message: Received, work: Work) -> None:
        """What goes wrong leaves it in the store, to be taken up again."""
        text = ""
        try:
            async with self._desk.turns.turn(message.address):
                text = await self._answer_patiently(message, work)
        except Closing as error:
            log.info("channel %s answers later: %s", self._desk.name, error)
        finally:
            del self._under_way[message.key]
            self._desk.waiting -= 1
            if not work.over.done():
                work.over.set_result(text)

    async def _answer_patiently(self, message: Received, work: Work) -> str:
        """It keeps its turn while the store is away, or those behind it would overtake it."""
        while True:
            try:
                async with self._desk.places:
                    return await self._answer_now(message, work)
            except (StoreAway, Busy) as error:
                log.info("channel %s answers later: %s", self._desk.name, error)
                work.is_decided = False
                if self._is_closing:
                    return ""
            await asyncio.sleep(_AWAY_SECONDS)

    async def _answer_now(self, message: Received, work: Work) -> str:
        desk = self._desk
        if message.tries > MOST_TRIES:
            desk.trouble(f"A message is given up after {MOST_TRIES} tries.")
            return await self._settle(message, "failed")
        question = await desk.store.write(lambda each: self._looked(each, message))
        if question is None:
            desk.counts["deleted"] += 1
            return ""
        if question.person.stopped:
            return await self._settle(message, "refused")
        try:
            said, is_answer = await desk.talk.ask(question), True
        except NOT_NOW:
            raise
        except WaifuError as error:
            desk.trouble(f"There is no answer: {error.message}")
            said, is_answer = desk.persona.excuse, False
        if not said:
            return await self._settle(message, "failed", question.person)
        return await self._conclude(message, question if is_answer else None, said, work)

    async def _looked(self, transaction: Transaction, message: Received) -> Question | None:
        """None where it was deleted meanwhile: nobody is made anew for it. That it is tried counts
        from here on: those behind it wait, and end nothing."""
        name = self._desk.name
        if not await received.is_waiting(transaction, name, message.key):
            return None
        await received.tried(transaction, name, message.key, message.tries)
        return await self._desk.talk.look(transaction, message.address, message.text)

    async def _conclude(
        self, message: Received, question: Question | None, said: str, work: Work
    ) -> str:
        """The text, where whoever waits is to say it; else the outbox has it. An excuse is no part
        of the conversation."""
        desk = self._desk
        text, cost = desk.channel.shape(said)
        async with desk.counting:
            work.is_decided, work.text = True, text
            by_us = not work.is_waited_for
            try:
                state, by_us = await desk.store.write(
                    lambda each: self._kept(each, message, question, text, cost, by_us)
                )
            except (*NOT_NOW, Busy):
                raise
            except WaifuError as error:  # the chat went meanwhile
                desk.trouble(f"An answer is not said: {error.message}")
                return await self._settle(message, "refused")
        desk.counts[state] += 1
        if not by_us:
            return text if state == "answered" else ""
        work.is_waited_for = False
        self._outbox.wake()
        return ""

    async def _kept(
        self,
        transaction: Transaction,
        message: Received,
        question: Question | None,
        text: str,
        cost: int,
        by_us: bool,
    ) -> tuple[str, bool]:
        """What came of it, and whether the outbox has it: also where an earlier answer is still on
        its way, which this one would overtake."""
        name, engine = self._desk.name, self._desk.store.engine
        if not await received.is_waiting(transaction, name, message.key):
            return "deleted", by_us  # and whoever wrote it with it
        person = await people.find_or_make(transaction, engine, name, message.address)
        if why := await self._why_not(transaction, person, cost):
            self._desk.trouble(f"Somebody is not answered: {why}.")
            await spending.note_reply(transaction, name, person.who, 0)  # the model was asked
            await received.settle(transaction, name, message.key, "refused")
            return "refused", by_us
        if question:
            await self._desk.talk.keep(transaction, question, text)
        await spending.note_reply(transaction, name, person.who, cost)
        by_us = by_us or await parcels.are_under_way(transaction, name, message.address)
        await received.settle(transaction, name, message.key, "answered" if by_us else "saying")
        if by_us:
            to = person.user, message.address
            await parcels.send(transaction, name, *to, text, message.about)
        return "answered", by_us

    async def _why_not(self, transaction: Transaction, person: Person, cost: int) -> str:
        """Much may have changed while the model was asked."""
        desk = self._desk
        if person.stopped:
            return "nothing more is wanted"
        if await spending.is_too_dear(transaction, desk.name, person.who, desk.limits, cost):
            return "the limit of costs is reached"
        return ""

    async def _settle(self, message: Received, state: str, asked: Person | None = None) -> str:
        """`asked` is for whom the model was: that counts, though nothing is said."""
        name = self._desk.name

        async def work(transaction: Transaction) -> None:
            await received.settle(transaction, name, message.key, state)
            if asked:
                await spending.note_reply(transaction, name, asked.who, 0)

        await self._desk.store.write(work)
        self._desk.counts[state] += 1
        return ""
