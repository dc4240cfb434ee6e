"""People who write over channels: one message after the other, whether they were answered or
not."""

from __future__ import annotations

import asyncio
import random
import time
import zlib
from collections.abc import Awaitable, Callable

from fake_post import FakeImap
from fake_twilio import message

from soak.channel_carriers import MailServer, Webhook
from soak.channel_ledger import GRACE_SECONDS, Asked, Heard, Ledger, Person

_MOST_WAITING = 5
_PATIENCE_SECONDS = 3.0
"""Somebody whose answers do not come writes on after so long."""
_STOPS, _COPIES = 0.04, 0.3


async def write_on(
    write: Callable[[], Awaitable[None]], person: Person, is_over: Callable[[], bool]
) -> None:
    """Some wait for each answer, others write on while a few are due."""
    most = zlib.crc32(person.address.encode()) % _MOST_WAITING
    while not is_over():
        until = time.monotonic() + _PATIENCE_SECONDS
        while person.waits > most and time.monotonic() < until:
            await asyncio.sleep(0.01)
        await write()


class Texter:
    """Writes by SMS. Twilio brings it, at times more than once at the same time."""

    def __init__(self, port: int, ledger: Ledger, number: int, draw: random.Random) -> None:
        self._webhook = Webhook(port, draw, ledger.refused)
        self.person = ledger.person("sms", f"+1555{number:07}")
        self._draw = draw
        self._sids = 0

    async def write(self) -> None:
        if self.person.asked and self._draw.random() < _STOPS:
            await self._stop_for_a_while()
        await self._ask(self.person.asks())

    async def _stop_for_a_while(self) -> None:
        """What is written meanwhile is never answered."""
        await self._bring("STOP")
        stopped = time.monotonic()
        for _ in range(2):
            await self._ask(self.person.asks(is_stopped=True))
        await asyncio.sleep(GRACE_SECONDS)
        self.person.stops.append((stopped, time.monotonic()))
        await self._bring("START")

    async def _ask(self, asked: Asked) -> None:
        for said in await self._bring(asked.text):
            self.person.heard.append(Heard(said))
        asked.taken = time.monotonic()

    async def _bring(self, text: str) -> list[str]:
        """What is said to it in TwiML, to all copies together."""
        self._sids += 1
        params = message(text, f"SM{self.person.address}{self._sids}", self.person.address)
        copies = 3 if self._draw.random() < _COPIES else 1
        said = await asyncio.gather(*(self._webhook.bring(params) for _ in range(copies)))
        return [each for each in said if each]


def _mail(person: Person, asked: Asked, to: str) -> str:
    id = asked.text.replace(" word", "").replace(" ", ".").replace("@", ".at.")
    head = f"From: {person.address}\nTo: {to}\nMessage-ID: <{id}@people.example>"
    return f"{head}\n\n{asked.text}\n"


class Mailer:
    """Writes by mail; its server brings it, and again where it is not told that it was taken."""

    def __init__(self, port: int, ledger: Ledger, number: int, draw: random.Random) -> None:
        self._server = MailServer(port, draw, ledger.refused)
        self.person = ledger.person("mail", f"m{number}@people.example")
        self._draw = draw

    async def write(self) -> None:
        asked = self.person.asks()
        copies = 2 if self._draw.random() < _COPIES else 1
        to, sender = "mail@waifu.example", self.person.address
        raw = _mail(self.person, asked, to)
        await asyncio.gather(*(self._server.bring(raw, sender, to) for _ in range(copies)))
        asked.taken = time.monotonic()


class Writer:
    """Writes a mail that comes to lie in the mailbox."""

    def __init__(self, imap: FakeImap, ledger: Ledger, number: int, draw: random.Random) -> None:
        self._imap = imap
        self.person = ledger.person("mailbox", f"w{number}@people.example")
        self._draw = draw

    async def write(self) -> None:
        asked = self.person.asks()
        raw = _mail(self.person, asked, "mailbox@waifu.example")
        for _ in range(2 if self._draw.random() < _COPIES else 1):
            self._imap.put(raw)
        asked.taken = time.monotonic()
        await asyncio.sleep(self._draw.uniform(0, 0.2))
