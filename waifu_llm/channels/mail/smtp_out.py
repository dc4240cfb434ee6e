"""Sends by SMTP, over the server that the operator names."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from contextlib import suppress
from email.message import EmailMessage
from typing import Literal

from msgspec import Struct

from waifu_llm.aside import aside
from waifu_llm.channels.channel import Delivered

Security = Literal["starttls", "tls", "none"]


class Server(Struct, frozen=True):
    """Where, and as whom."""

    host: str
    port: int
    security: Security
    user: str
    password: str
    seconds: float
    name: str
    """What we call ourselves: else the library asks DNS."""
    trusted: ssl.SSLContext | None = None
    """Whose certificates; none without TLS. To read them takes longer than to send a mail."""


async def send(server: Server, message: EmailMessage, senders: Sequence[str], to: str) -> Delivered:
    """In a thread: the library waits. `senders` are for the envelope: the next one is for servers
    that do not let us use the one before."""
    return await aside(lambda: _send(server, message, senders, to), "smtp")


def _send(server: Server, message: EmailMessage, senders: Sequence[str], to: str) -> Delivered:
    """Once its id has been seen there, a mail may come again: it is known by that."""
    try:
        connection = _connected(server)
        try:
            _hand_over(connection, message, senders, to)
            with suppress(OSError, smtplib.SMTPException):  # it is sent, whatever comes now
                connection.quit()
        finally:
            connection.close()
    except smtplib.SMTPRecipientsRefused as exc:
        code, said = next(iter(exc.recipients.values()))
        return _refused(code, said)
    except smtplib.SMTPResponseException as exc:
        return _refused(exc.smtp_code, exc.smtp_error)
    except (OSError, smtplib.SMTPException) as exc:
        return Delivered("later", f"the server {server.host} is out of reach: {exc}")
    except UnicodeError as exc:
        return Delivered("refused", f"it cannot be written as a mail: {exc}")
    return Delivered("sent")


def _hand_over(
    connection: smtplib.SMTP, message: EmailMessage, senders: Sequence[str], to: str
) -> None:
    """Some servers say what they have against a sender only of the recipient."""
    first, *others = dict.fromkeys(senders)
    try:
        connection.send_message(message, first, [to])
    except (smtplib.SMTPSenderRefused, smtplib.SMTPRecipientsRefused) as refused:
        if not others or not _is_for_good(refused):
            raise
        connection.send_message(message, others[0], [to])


def _is_for_good(refused: smtplib.SMTPSenderRefused | smtplib.SMTPRecipientsRefused) -> bool:
    if isinstance(refused, smtplib.SMTPSenderRefused):
        return refused.smtp_code >= 500
    return all(code >= 500 for code, _ in refused.recipients.values())


def _refused(code: int, said: bytes | str) -> Delivered:
    """What begins with 5 is for good; but that we may not come in is the operator's to mend."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    why = f"the server says {code} {' '.join(text.split())[:200]}"
    for_good = 500 <= code < 600 and code not in (530, 534, 535, 538)
    return Delivered("refused" if for_good else "later", why)


def _connected(server: Server) -> smtplib.SMTP:
    address, seconds = (server.host, server.port), server.seconds
    if server.security == "tls":
        connection: smtplib.SMTP = smtplib.SMTP_SSL(
            *address, server.name, timeout=seconds, context=server.trusted
        )
    else:
        connection = smtplib.SMTP(*address, server.name, timeout=seconds)
    try:
        if server.security == "starttls":
            connection.starttls(context=server.trusted)
        if server.user:
            connection.login(server.user, server.password)
    except BaseException:
        connection.close()
        raise
    return connection
