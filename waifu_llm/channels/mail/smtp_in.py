"""Takes mail by SMTP, for our own addresses alone: it passes nothing on to anybody else.

A mail is in the store when its sender's server is told that it was taken.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import ssl
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from msgspec import Struct

from waifu_llm.channels.mail.reading import is_one_of
from waifu_llm.version import __version__

MOST_RECIPIENTS = 20
_SILENT_SECONDS = 120.0
Hear = Callable[[bytes, str, Sequence[str]], Awaitable[str]]
"""Given a mail, its envelope's sender and recipients; returns what the server says to it."""
log = logging.getLogger("waifu_llm.channels")


class Listening(Struct, frozen=True):
    """Where it listens, and to whom."""

    host: str
    port: int
    own: Collection[str]
    most_bytes: int
    most_connections: int
    name: str
    """What it calls itself."""
    tls: ssl.SSLContext | None
    user: str
    password: str


class _Door:
    """What `aiosmtpd` asks for each command."""

    def __init__(self, listening: Listening, hear: Hear) -> None:
        self._own = listening.own
        self._hear = hear

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not is_one_of(address, self._own):
            return "550 5.7.1 This server takes mail for its own addresses only"
        if len(envelope.rcpt_tos) >= MOST_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        raw = content.encode() if isinstance(content, str) else content or b""
        return await self._hear(raw, envelope.mail_from or "", envelope.rcpt_tos)

    async def handle_exception(self, error: Exception) -> str:
        log.error("a fault of the module", exc_info=error)
        return "451 4.3.0 Not now"


class SmtpDoor:
    """One address that mail is delivered to."""

    def __init__(self, listening: Listening, hear: Hear) -> None:
        self._listening = listening
        self._handler = _Door(listening, hear)
        self._server: asyncio.Server | None = None
        self._there: set[_Conversation] = set()
        self.port = 0

    async def open(self) -> None:
        """
        Raises:
            OSError: When the address cannot be listened at.
        """
        loop, listening = asyncio.get_running_loop(), self._listening
        logging.getLogger("mail.log").setLevel(logging.ERROR)  # below, it shows what people write
        self._server = await loop.create_server(self._welcome, listening.host, listening.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server:
            self._server.close()
        for each in list(self._there):
            each.hang_up()

    def _welcome(self) -> asyncio.BaseProtocol:
        listening = self._listening
        return _Conversation(
            self._there,
            listening.most_connections,
            self._handler,
            data_size_limit=listening.most_bytes,
            enable_SMTPUTF8=False,
            decode_data=False,
            hostname=listening.name,  # else it asks DNS, and everybody waits
            ident=f"waifu-llm {__version__}",
            tls_context=listening.tls,
            require_starttls=listening.tls is not None,
            authenticator=self._authenticate if listening.user else None,
            auth_required=bool(listening.user),
            timeout=_SILENT_SECONDS,
        )

    def _authenticate(self, *asked: Any) -> AuthResult:
        given, listening = asked[-1], self._listening
        if not isinstance(given, LoginPassword):
            return AuthResult(success=False, handled=False)
        right = [
            hmac.compare_digest(given.login, listening.user.encode()),
            hmac.compare_digest(given.password, listening.password.encode()),
        ]
        return AuthResult(success=all(right), handled=False)


class _Conversation(SMTP):
    """One connection; more than so many at a time are not talked to."""

    line_length_limit = 64 * 1024  # programs write longer ones than they may

    def __init__(self, there: set[_Conversation], most: int, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._all_there = there
        self._most_there = most

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        full = self not in self._all_there and len(self._all_there) >= self._most_there
        if full and isinstance(transport, asyncio.Transport):
            transport.write(b"421 4.3.2 Too many connections\r\n")
            transport.close()
            self.transport = None
            return
        self._all_there.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self in self._all_there:
            self._all_there.discard(self)
            super().connection_lost(error)

    def eof_received(self) -> bool | None:
        return super().eof_received() if self in self._all_there else None

    def hang_up(self) -> None:
        if self.transport is not None:
            self.transport.close()
