"""People who write over channels: one message after the other, whether they were answered or not,
and again where nobody said that it came."""

from __future__ import annotations

import asyncio
import random
import re
import smtplib
import time
import zlib
from collections.abc import Awaitable, Callable
from html import unescape

from fake_post import FakeImap, deliver
from fake_twilio import message, webhook

from soak.channel_ledger import GRACE_SECONDS, Asked, Heard, Ledger, Person
from soak.history import Violation

_MOST_WAITING = 5
_PATIENCE_SECONDS = 3.0
"""Somebody whose answers do not come writes on after so long."""
_AGAIN_SECONDS = 0.05
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
        self._port = port
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
        said = await asyncio.gather(*(self._post(params) for _ in range(copies)))
        return [each for each in said if each]

    async def _post(self, params: dict[str, str]) -> str:
        """Until it is taken."""
        while True:
            try:
                status, body = await _posted(self._port, params)
            except (OSError, asyncio.IncompleteReadError):
                status, body = 503, ""
            if status == 200:
                found = re.search(r"<Message>(.*)</Message>", body, re.DOTALL)
                return unescape(found[1]) if found else ""
            if status != 503:
                raise Violation(f"a message of Twilio's is answered with {status}: {body}")
            await asyncio.sleep(_AGAIN_SECONDS)


async def _posted(port: int, params: dict[str, str]) -> tuple[int, str]:
    incoming = webhook(params)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        told = {**incoming.headers, "Host": f"127.0.0.1:{port}", "Connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        length = f"Content-Length: {len(incoming.body)}\r\n"
        writer.write(f"POST /sms HTTP/1.1\r\n{head}{length}\r\n".encode() + incoming.body)
        first = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"content-length: (\d+)", first, re.I)[1]  # type: ignore[index]
        return int(first.split()[1]), (await reader.readexactly(int(length))).decode()
    finally:
        writer.close()


def _mail(person: Person, asked: Asked, to: str) -> str:
    id = asked.text.replace(" ", ".").replace("@", ".at.")
    head = f"From: {person.address}\nTo: {to}\nMessage-ID: <{id}@people.example>"
    return f"{head}\n\n{asked.text}\n"


class Mailer:
    """Writes by mail; its server brings it, and again where it is not told that it was taken."""

    def __init__(self, port: int, ledger: Ledger, number: int, draw: random.Random) -> None:
        self._port = port
        self.person = ledger.person("mail", f"m{number}@people.example")
        self._draw = draw

    async def write(self) -> None:
        asked = self.person.asks()
        copies = 2 if self._draw.random() < _COPIES else 1
        await asyncio.gather(*(self._bring(asked) for _ in range(copies)))
        asked.taken = time.monotonic()

    async def _bring(self, asked: Asked) -> None:
        to = "mail@waifu.example"
        raw = _mail(self.person, asked, to)
        while True:
            try:
                code, said = await deliver(self._port, raw, self.person.address, to)
            except (OSError, smtplib.SMTPException):
                code, said = 451, ""
            if code == 250:
                return
            if code >= 500:
                raise Violation(f"a mail is refused: {code} {said}")
            await asyncio.sleep(_AGAIN_SECONDS)


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
