"""Messages that were accepted: each is answered once, in the order of its person.

One is in the store before anybody is told that it was taken, and leaves it with its answer in one
transaction. What the end of the module interrupts is taken up again after the next start.
"""

from __future__ import annotations

import asyncio
import logging

from waifu_llm.asking import Closing
from waifu_llm.channels import people, received, spending, stops
from waifu_llm.channels.channel import Said, Taken
from waifu_llm.channels.concluding import Conclusion, settle
from waifu_llm.channels.desk import AWAY_SECONDS, Desk
from waifu_llm.channels.outbox import Outbox
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
log = logging.getLogger("waifu_llm.channels")


class Accepted:
    """Those of one channel."""

    def __init__(self, desk: Desk, outbox: Outbox) -> None:
        self._desk = desk
        self._outbox = outbox
        self._saying = Saying(desk, outbox)
        self._tasks = Tasks()
        self._under_way: dict[str, Work] = {}

    async def open(self) -> None:
        await self._saying.open()
        await self.resume()

    async def close(self) -> None:
        """What is under way is put down; it is in the store. But what is decided is said: whoever
        waits for it is the only one who has it."""
        self._desk.is_closing = True
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
            if message.key not in self._under_way and not self._desk.is_closing:
                self._start(message, Work())

    async def take(self, said: Said, within: float) -> Taken:
        """See `Conversations.take`. Of copies that come together one is taken; the others are told
        what it is told."""
        key = received.key_of(said.id)
        if known := self._under_way.get(key):
            await known.kept()
            return Taken("known")
        self._desk.see_that_there_is_room()
        work = self._under_way[key] = Work()
        work.is_waited_for = within > 0
        work.keeping = self._tasks.start(self._keep(said, key, work))
        try:
            state = await work.kept()
        except asyncio.CancelledError:
            work.is_waited_for = False
            raise
        if state != "accepted":
            return Taken("known" if state == "known" else "refused")
        if not (work.task and work.is_waited_for):
            return Taken("later")
        return await self._saying.wait(work, within)

    async def _keep(self, said: Said, key: str, work: Work) -> str:
        """Whoever waits for it may go: once it is in the store it is worked on, or what the same
        person writes next would overtake it."""
        state = ""
        self._desk.waiting += 1
        try:
            state = await self._accept(said)
        finally:
            self._desk.waiting -= 1
            if state != "accepted" or self._desk.is_closing:
                del self._under_way[key]
        if state == "waits":
            await self.resume()
            return "known"
        if state == "accepted" and not self._desk.is_closing:
            self._start(Received(key, said.person, said.text, dict(said.about), 0), work)
        return state

    async def _accept(self, said: Said) -> str:
        desk, key = self._desk, received.key_of(said.id)
        if not desk.allows(said.person):
            desk.counts["refused"] += 1
            return "refused"
        async with desk.counting:
            state, why = await desk.store.write_once(
                lambda each: self._accepted(each, said),
                lambda each: received.is_known(each, desk.name, key),
            )
        desk.counts["known" if state == "waits" else state] += 1
        if why:
            desk.trouble(f"Somebody is not answered: the limit is {why}.")
        return state

    async def _accepted(self, transaction: Transaction, said: Said) -> tuple[str, str]:
        """`waits`: it is in the store though it was said that it is not, and nobody works on it."""
        desk = self._desk
        if known := await received.state_of(transaction, desk.name, received.key_of(said.id)):
            return "waits" if known == "accepted" else "known", ""
        whose = who(said.person)
        why = await spending.why_not(transaction, desk.name, whose, desk.limits)
        if why or await stops.has_stopped(transaction, desk.name, whose):
            person = await people.find(transaction, desk.name, said.person)
            if person:  # and nothing is kept of who is not known
                await received.accept(transaction, desk.name, person.number, said, "refused")
            return "refused", why or ""
        made = await people.find_or_make(transaction, desk.store.engine, desk.name, said.person)
        await received.accept(transaction, desk.name, made.number, said, "accepted")
        return "accepted", ""

    # Answering

    def _start(self, message: Received, work: Work) -> None:
        self._under_way[message.key] = work
        work.message = message
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
                if self._desk.is_closing:
                    return ""
            await asyncio.sleep(AWAY_SECONDS)

    async def _answer_now(self, message: Received, work: Work) -> str:
        desk = self._desk
        if message.tries > MOST_TRIES:
            desk.trouble(f"A message is given up after {MOST_TRIES} tries.")
            return await settle(desk, message, "failed")
        question = await desk.store.write(lambda each: self._looked(each, message))
        if question is None:
            desk.counts["deleted"] += 1
            return ""
        if question.person.stopped:
            return await settle(desk, message, "refused")
        try:
            said, is_answer = await desk.talk.ask(question), True
        except NOT_NOW:
            raise
        except WaifuError as error:
            desk.trouble(f"There is no answer: {error.message}")
            said, is_answer = desk.persona.excuse, False
        if not said:
            return await settle(desk, message, "failed", question.person)
        answered = question if is_answer else None
        return await Conclusion(desk, self._outbox, message, answered, said).reach(work)

    async def _looked(self, transaction: Transaction, message: Received) -> Question | None:
        """None where it was deleted meanwhile: nobody is made anew for it. That it is tried counts
        from here on: those behind it wait, and end nothing."""
        name = self._desk.name
        if not await received.is_waiting(transaction, name, message.key):
            return None
        await received.tried(transaction, name, message.key, message.tries)
        return await self._desk.talk.look(transaction, message.address, message.text)
