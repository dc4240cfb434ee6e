"""Other people's mail servers, over real sockets: one that takes mail, and a mailbox."""

from __future__ import annotations

import asyncio
import re
import smtplib
import socket
from collections.abc import Awaitable, Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
        return port


class PostOffice:
    """Takes every mail; `answers` are what it says to them, in turn."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.envelopes: list[tuple[str, list[str]]] = []
        self.answers: list[str] = []
        self.hangs_up_at_quit = False
        self.refused_sender = ("", "")
        """At which command, and who."""
        self._server: asyncio.Server

    async def open(self) -> PostOffice:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SMTP(self, hostname="post.example", loop=loop), "127.0.0.1", 0
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        self._server.close()

    async def handle_MAIL(
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if self.refused_sender == ("MAIL", address):
            return "553 5.7.1 That is not you"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if self.refused_sender == ("RCPT", envelope.mail_from):
            return "553 5.7.1 That is not you"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:
        if self.hangs_up_at_quit:
            server.transport.abort()
        return "221 Bye"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        answer = self.answers.pop(0) if self.answers else "250 OK"
        if answer.startswith("2"):
            content = envelope.content.replace(b"\r\n", b"\n")
            mail = message_from_bytes(content, policy=policy.default)
            self.mails.append(mail)
            self.envelopes.append((envelope.mail_from, envelope.rcpt_tos))
        return answer


async def deliver(port: int, raw: str | bytes, sender: str, *to: str) -> tuple[int, str]:
    """Bring a mail to a server; what that says in the end."""

    def bring() -> tuple[int, str]:
        content = raw.encode() if isinstance(raw, str) else raw
        with smtplib.SMTP("127.0.0.1", port, "test.example", timeout=20) as connection:
            connection.ehlo()
            connection.mail(sender)
            for each in to:
                code, said = connection.rcpt(each)
                if code >= 400:
                    return code, said.decode()
            code, said = connection.data(content)
            return code, said.decode()

    return await asyncio.to_thread(bring)


Way = Callable[[bytes, str, str], Awaitable[Any]]
"""Brings a mail on: its envelope's sender, and to whom."""
STRIPPED = ("Auto-Submitted", "Precedence", "X-Auto-Response-Suppress", "X-Waifu-LLM-Loop")


class Relay(PostOffice):
    """Brings each mail on, without what says that a machine made it."""

    def __init__(self) -> None:
        super().__init__()
        self.keeps_ids = True
        self._ways: dict[str, Way] = {}
        self._mailboxes: list[FakeImap] = []

    async def close(self) -> None:
        await super().close()
        for each in self._mailboxes:
            await each.close()

    def leads_to(self, address: str, way: Way) -> None:
        self._ways[address] = way

    async def mailbox_of(self, address: str) -> FakeImap:
        imap = await FakeImap().open()
        self._mailboxes.append(imap)
        self.leads_to(address, imap.deliver)
        return imap

    async def bring(self, raw: bytes, sender: str, to: str) -> None:
        name, _, host = to.partition("@")
        await self._ways[f"{name.partition('+')[0]}@{host}"](raw, sender, to)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        answer = await super().handle_DATA(server, session, envelope)
        mail = self.mails[-1]
        for name in STRIPPED:
            del mail[name]
        if not self.keeps_ids:
            mail.replace_header("Message-ID", f"<{len(self.mails)}@relay.example>")
        await self.bring(mail.as_bytes(), envelope.mail_from, envelope.rcpt_tos[0])
        return answer


class FakeImap:
    """One mailbox, with mails by number."""

    def __init__(self, *, idles: bool = True) -> None:
        self.mails: dict[int, bytes] = {}
        self.flags: dict[int, str] = {}
        self.validity = 7
        self.logins: list[str] = []
        self.refuses = False
        self.marks = True
        self._idles = idles
        self._is_untold = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._idling: dict[asyncio.StreamWriter, str] = {}
        self._server: asyncio.Server

    async def open(self) -> FakeImap:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        self._server.close()
        self.cut_off()

    def cut_off(self) -> None:
        """Every connection is lost."""
        for writer in self._writers:
            writer.transport.abort()

    def put(self, raw: str) -> int:
        number = max(self.mails, default=0) + 1
        self.mails[number] = raw.replace("\n", "\r\n").encode()
        self._is_untold = not self._idling
        for writer in self._idling:
            writer.write(b"* %d EXISTS\r\n" % len(self.mails))
        return number

    async def deliver(self, raw: bytes, sender: str, to: str) -> None:
        """As a server puts it there."""
        self.put(f"Return-Path: <{sender}>\nDelivered-To: {to}\n{raw.decode()}")

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        writer.write(b"* OK ready\r\n")
        try:
            while line := (await reader.readline()).decode().strip():
                if line == "DONE":
                    writer.write(f"{self._idling.pop(writer)} OK done\r\n".encode())
                    continue
                tag, _, asked = line.partition(" ")
                self._answer(writer, tag, asked)
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            self._idling.pop(writer, None)
            writer.close()

    def _answer(self, writer: asyncio.StreamWriter, tag: str, asked: str) -> None:
        if asked == "IDLE":
            self._idling[writer] = tag
            if self._is_untold:
                writer.write(b"* %d EXISTS\r\n" % len(self.mails))
            self._is_untold = False
            writer.write(b"+ idling\r\n")
            return
        if asked.startswith("LOGIN"):
            self.logins.append(asked)
        refused = self.refuses and asked.startswith("LOGIN")
        refused = refused or (not self.marks and asked.startswith("UID STORE"))
        writer.write(b"".join(self._said(asked)))
        writer.write(f"{tag} {'NO not you' if refused else 'OK'} done\r\n".encode())

    def _said(self, asked: str) -> list[bytes]:
        if asked == "CAPABILITY":
            more = b" IDLE" if self._idles and self.logins else b""  # told to whom it knows
            return [b"* CAPABILITY IMAP4rev1" + more + b"\r\n"]
        if asked.startswith("SELECT"):
            following = max(self.mails, default=0) + 1
            return [
                b"* %d EXISTS\r\n" % len(self.mails),
                b"* OK [UIDVALIDITY %d] x\r\n" % self.validity,
                b"* OK [UIDNEXT %d] x\r\n" % following,
            ]
        if found := re.match(r"UID SEARCH (?:UID (\d+):\*)?", asked):
            first = int(found[1] or 0)
            # The last is always in such a range, as RFC 3501 has it.
            numbers = [each for each in self.mails if each >= first or each == max(self.mails)]
            return [b"* SEARCH " + b" ".join(b"%d" % each for each in numbers) + b"\r\n"]
        if found := re.match(r"UID FETCH (\d+) \(RFC822.SIZE\)", asked):
            size = len(self.mails[int(found[1])])
            return [b"* 1 FETCH (UID %s RFC822.SIZE %d)\r\n" % (found[1].encode(), size)]
        if found := re.match(r"UID FETCH (\d+)", asked):
            content = self.mails[int(found[1])]
            head = b"* 1 FETCH (UID %s BODY[] {%d}\r\n" % (found[1].encode(), len(content))
            return [head, content, b")\r\n"]
        if found := re.match(r"UID STORE (\d+) \+FLAGS.SILENT \((.*)\)", asked):
            self.flags[int(found[1])] = found[2]
        return []
