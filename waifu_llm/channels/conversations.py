"""The conversations of one channel: one with each person. See `channel.Conversations`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from waifu_llm.channels import marks, parcels, received, spending, stops
from waifu_llm.channels.accepted import Accepted
from waifu_llm.channels.channel import Said, Taken
from waifu_llm.channels.desk import Desk
from waifu_llm.channels.outbox import Outbox
from waifu_llm.channels.talk import Question
from waifu_llm.channels.whose import who
from waifu_llm.chats.transaction import Transaction
from waifu_llm.errors import Forbidden, RateLimited, WaifuError

SWEEP_SECONDS = 30.0
log = logging.getLogger("waifu_llm.channels")


class ChannelConversations:
    """What a channel has of the module."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._store = desk.store
        self._outbox = Outbox(desk.channel, desk.store, desk.trouble)
        self._accepted = Accepted(desk, self._outbox)
        self._sweeping: asyncio.Task[None] | None = None
        self.name = desk.name
        self.persona = desk.persona

    async def open(self) -> None:
        """Take up what the last life left, before anybody is heard."""
        await self._outbox.open()
        await self._accepted.open()

    def begin(self) -> None:
        """Bring answers: the channel is open."""
        self._outbox.begin()
        self._sweeping = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        if self._sweeping:
            self._sweeping.cancel()
        await self._outbox.close()
        await self._accepted.close()

    def status(self) -> Mapping[str, Any]:
        desk = self._desk
        told = {**desk.counts, "waiting": desk.waiting, "parcels": self._outbox.status()}
        return {**told, **desk.last_trouble}

    def trouble(self, what: str) -> None:
        self._desk.trouble(what)

    async def take(self, said: Said, within: float = 0.0) -> Taken:
        return await self._accepted.take(said, within)

    async def recall(self, name: str) -> str | None:
        return await self._store.read(lambda each: marks.recall(each, self.name, name))

    async def remember(self, name: str, value: str) -> None:
        await self._store.write(lambda each: marks.remember(each, self.name, name, value))

    async def returned(self, id: str, why: str) -> None:
        if await self._store.write(lambda each: parcels.return_it(each, self.name, id)):
            self._desk.counts["returned"] += 1
            self.trouble(f"An answer came back: {why}")

    # What no model is asked about

    async def note(self, person: str, id: str, *, stopped: bool | None = None) -> bool:
        key = received.key_of(id)
        async with self._desk.counting:
            return await self._store.write_once(
                lambda each: self._noted(each, person, id, stopped),
                lambda each: received.is_known(each, self.name, key),
            )

    async def _noted(
        self, transaction: Transaction, address: str, id: str, stopped: bool | None
    ) -> bool:
        """Nobody is made a person for it: who was deleted stays so, and is obeyed."""
        name, whose = self.name, who(address)
        if await received.is_known(transaction, name, received.key_of(id)):
            return False
        await received.accept(transaction, name, None, Said(address, "", id), "noted")
        had_stopped = await stops.has_stopped(transaction, name, whose)
        if stopped:
            await stops.stop(transaction, name, whose)
            await parcels.discard(transaction, name, address)
        elif stopped is not None:
            await stops.start(transaction, name, whose)
        if stopped == had_stopped:
            return False
        why = await spending.why_not(transaction, name, whose, self._desk.limits)
        if why and not stopped:  # that it is stopped has to be said
            return False
        await spending.note_reply(transaction, name, whose, 1)
        return True

    # Answered now

    async def answer(self, person: str, text: str, *, limited: bool = True) -> str:
        desk = self._desk
        desk.see_that_there_is_room()
        if limited and not desk.allows(person):
            raise Forbidden("Whoever writes is not among those that are `allowed` here.")
        desk.waiting += 1
        try:
            async with desk.turns.turn(person), desk.places:
                said = await self._answer(person, text, limited)
        finally:
            desk.waiting -= 1
        desk.counts["answered"] += 1
        return said

    async def _answer(self, person: str, text: str, limited: bool) -> str:
        talk = self._desk.talk
        question = await self._store.write(lambda each: talk.look(each, person, text))
        if limited:
            await self._store.read(lambda each: self._refuse_too_much(each, question))
        said = await talk.ask(question)
        shaped, cost = self._desk.channel.shape(said) if limited else (said, 0)

        kept: list[str] = []

        async def keep(transaction: Transaction) -> None:
            kept.append(await talk.keep(transaction, question, shaped))
            if limited:
                await spending.note_reply(transaction, self.name, question.person.who, cost)

        await self._store.write_once(keep, lambda each: talk.has_kept(each, kept[-1]))
        return shaped

    async def _refuse_too_much(self, transaction: Transaction, question: Question) -> None:
        if question.person.stopped:
            raise Forbidden("This person wants no answers.")
        limits = self._desk.limits
        if why := await spending.why_not(transaction, self.name, question.person.who, limits):
            self._desk.counts["refused"] += 1
            raise RateLimited(f"The limit here is {why}.")

    # From time to time

    async def _sweep(self) -> None:
        """For ever: what could not be answered is taken up, and what is old is forgotten."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self._accepted.resume()
                await self._store.write(_forget_old)
            except WaifuError as error:
                log.warning("channel %s: %s", self.name, error)
            except Exception as exc:
                log.error("a fault of the module", exc_info=exc)


async def _forget_old(transaction: Transaction) -> None:
    for each in (received, spending, parcels):
        await each.forget_old(transaction)
