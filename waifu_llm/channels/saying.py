"""Answers that whoever waited has to say, such as the caller of a webhook.

That one was said is noted a moment after it was handed over. Of those that a module dies over in
that moment nobody knows, and that is what the store says of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from waifu_llm.channels import parcels, people, received
from waifu_llm.channels.channel import Taken
from waifu_llm.channels.desk import AWAY_SECONDS, Desk
from waifu_llm.channels.outbox import Outbox
from waifu_llm.channels.work import Work
from waifu_llm.chats.database import StoreAway
from waifu_llm.chats.transaction import Transaction
from waifu_llm.errors import Busy
from waifu_llm.tasks import Tasks

MOMENT_SECONDS = 1.0
"""In which what was handed over is on the wire."""
log = logging.getLogger("waifu_llm.channels")


class Saying:
    """Those of one channel."""

    def __init__(self, desk: Desk, outbox: Outbox) -> None:
        self._desk = desk
        self._outbox = outbox
        self._noting = Tasks()
        self._bringing = Tasks()
        self._handed: set[str] = set()

    async def open(self) -> None:
        name = self._desk.name
        count = await self._desk.store.write(lambda each: received.left_over(each, name))
        if count:
            self._desk.trouble(f"Of {count} answers it is not known whether they were heard.")

    async def close(self) -> None:
        self._noting.cancel()
        await self._noting.over()
        await self._bringing.over()
        await self._note(self._handed)

    async def wait(self, work: Work, seconds: float) -> Taken:
        """See `Work.wait`."""
        try:
            taken = await work.wait(seconds)
        except asyncio.CancelledError:
            if work.is_waited_for:
                self._bringing.start(self._bring(work))
            raise
        if taken.outcome == "answered":
            self._handed.add(work.message.key)
            self._noting.start(self._note_soon(work.message.key))
        return taken

    async def _note_soon(self, key: str) -> None:
        await asyncio.sleep(MOMENT_SECONDS)
        await self._patiently(lambda: self._note({key}))

    async def _note(self, keys: set[str]) -> None:
        if keys:
            name, noted = self._desk.name, list(keys)
            await self._desk.store.write(lambda each: received.said(each, name, noted))
            self._handed -= set(noted)

    async def _bring(self, work: Work) -> None:
        """Who waited went away when it was settled already: for certain nobody has said it."""
        await work.over
        name, message = self._desk.name, work.message

        async def send(transaction: Transaction) -> None:
            person = await people.find(transaction, name, message.address)
            if person and await received.said(transaction, name, [message.key]):
                to = person.user, message.address
                await parcels.send(transaction, name, *to, work.text, message.about)

        await self._patiently(lambda: self._desk.store.write(send))
        self._outbox.wake()

    async def _patiently(self, do: Callable[[], Awaitable[None]]) -> None:
        """Over an outage of the store: nobody else will do it."""
        while True:
            try:
                await do()
                return
            except (StoreAway, Busy) as error:
                log.info("channel %s notes it later: %s", self._desk.name, error)
                if self._desk.is_closing:
                    return
            await asyncio.sleep(AWAY_SECONDS)
