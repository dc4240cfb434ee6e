"""What is around a module with channels: Twilio, the server that takes its mails, and a mailbox."""

from __future__ import annotations

import asyncio
import random
from typing import Any
from urllib.parse import parse_qsl

from fake_post import FakeImap, PostOffice

from soak.channel_ledger import Heard, Ledger

_SILENT = 0.02
"""How often Twilio takes a message and hangs up: then nobody knows whether it did."""


class Twilio:
    """Its REST API."""

    def __init__(self, ledger: Ledger, draw: random.Random) -> None:
        self._ledger = ledger
        self._draw = draw
        self.silent = 0
        """How often it did so."""

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        self._server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            sent = await _form(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()  # the module died over it
            return
        self._ledger.hears("sms", sent["To"], Heard(sent["Body"]))
        await asyncio.sleep(self._draw.uniform(0, 0.05))
        if self._draw.random() < _SILENT:
            self.silent += 1
        else:
            writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()


async def _form(reader: asyncio.StreamReader) -> dict[str, str]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    return dict(parse_qsl((await reader.readexactly(length)).decode(), keep_blank_values=True))


class Post(PostOffice):
    """Where the module hands in its mails, of both channels."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        answer = await super().handle_DATA(server, session, envelope)
        mail, (to,) = self.mails.pop(), envelope.rcpt_tos
        channel = "mailbox" if mail["From"].startswith("mailbox@") else "mail"
        self._ledger.hears(channel, to, Heard(mail.get_content().strip(), mail["Message-ID"]))
        return answer


class World:
    """All of it; it outlives every module."""

    def __init__(self, draw: random.Random) -> None:
        self.ledger = Ledger()
        self.twilio = Twilio(self.ledger, draw)
        self.post = Post(self.ledger)
        self.imap = FakeImap()

    async def open(self) -> None:
        await self.twilio.open()
        await self.post.open()
        await self.imap.open()

    async def close(self) -> None:
        self.twilio.close()
        await self.post.close()
        await self.imap.close()
