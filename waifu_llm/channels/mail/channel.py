"""The channel `email`: a mail is heard, and answered with a mail in its thread.

Never answered are machines, lists and ourselves; an answer goes to one person, and to no other.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from email.message import Message
from typing import Annotated, Any

from msgspec import Meta, Struct

from waifu_llm.aside import aside
from waifu_llm.channels.calls import JSON, Answered, answered, json_reply, read_json, refusal
from waifu_llm.channels.channel import (
    Channel,
    Conversations,
    Delivered,
    Incoming,
    Parcel,
    Reply,
    Route,
    Said,
)
from waifu_llm.channels.mail import settings as of_mail
from waifu_llm.channels.mail import smtp_out
from waifu_llm.channels.mail.bounces import returned
from waifu_llm.channels.mail.machines import is_returned, why_not, why_not_said
from waifu_llm.channels.mail.proof import is_proven
from waifu_llm.channels.mail.reading import Mail, address_in, is_one_of, parsed, read
from waifu_llm.channels.mail.replying import Ours, about, composed
from waifu_llm.channels.mail.settings import MailSettings
from waifu_llm.channels.mail.smtp_in import SmtpDoor
from waifu_llm.channels.mail.watching import Watching
from waifu_llm.errors import InvalidMessage, WaifuError

_READERS = 2
"""How many mails are looked through at a time."""


class MailCall(Struct):
    """What an application sends."""

    user_id: Annotated[str, Meta(min_length=1, max_length=256)]
    email: str
    subject: Annotated[str, Meta(max_length=1000)]
    body: Annotated[str, Meta(max_length=100_000)]


class _Seen(Struct, frozen=True):
    """A mail that was looked through; without it where it is not answered."""

    mail: Mail | None
    why_not: str
    came_back: tuple[str, str] | None = None


class MailChannel(Channel):
    """One mailbox."""

    Settings = MailSettings
    SECRETS = of_mail.SECRETS
    settings: MailSettings

    def __init__(self, name: str, settings: Any, secrets: Mapping[str, str]) -> None:
        super().__init__(name, settings, secrets)
        of_mail.check(name, settings, frozenset(secrets))
        self._server = of_mail.server_of(settings, secrets.get("smtp_password", ""))
        self._conversations: Conversations
        self._passed_over: Counter[str] = Counter()
        self._readers = asyncio.Semaphore(_READERS)
        self._door: SmtpDoor | None = None
        self._watching: Watching | None = None
        if settings.listen_host:
            password = secrets.get("listen_password", "")
            self._door = SmtpDoor(of_mail.door_of(settings, password), self._delivered)

    async def open(self, conversations: Conversations) -> None:
        self._conversations = conversations
        if self.settings.imap_host:
            mailbox = of_mail.mailbox_of(self.settings, self.secrets.get("imap_password", ""))
            self._watching = Watching(mailbox, conversations, self._found)
            self._watching.open()
        if self._door:
            await self._door.open()

    async def close(self) -> None:
        if self._door:
            await self._door.close()
        if self._watching:
            await self._watching.close()

    def status(self) -> Mapping[str, Any]:
        told: dict[str, Any] = {"passed_over": sum(self._passed_over.values())}
        if self._watching:
            told["imap"] = "connected" if self._watching.is_connected else "away"
        if self._door:
            told["smtp_port"] = self._door.port
        return told

    # In

    async def _delivered(self, raw: bytes, sender: str, recipients: Sequence[str]) -> str:
        """What the server says that brought it. That we do not answer is no reason to give it
        back: that would be an answer."""
        try:
            await self._hear(raw, sender, recipients)
        except WaifuError:
            return "451 4.3.0 Not now, try again later"
        return "250 2.0.0 OK"

    async def _found(self, raw: bytes) -> bool:
        return await self._hear(raw, None, ())

    async def _hear(self, raw: bytes, sender: str | None, recipients: Sequence[str]) -> bool:
        """Whether it is answered; for `sender` see `machines.why_not`. To look through a long one
        takes a while, in which others are served."""
        async with self._readers:
            seen = await aside(lambda: self._looked_through(raw, sender, recipients), "mail")
        if seen.came_back:
            await self._conversations.returned(*seen.came_back)
        if seen.mail is None:
            return self._pass_over(seen.why_not)
        mail = seen.mail
        id = mail.id or hashlib.sha256(raw).hexdigest()
        said = Said(mail.sender, _prompt(mail), id, about(mail))
        return (await self._conversations.take(said)).outcome != "refused"

    def _looked_through(self, raw: bytes, sender: str | None, recipients: Sequence[str]) -> _Seen:
        message, settings = parsed(raw), self.settings
        if message is None:
            return _Seen(None, "it cannot be read")
        apart = settings.returns != settings.address.lower()
        if apart and is_returned(message, recipients, settings.returns):
            return _Seen(None, "it came to where mails come back", returned(message))
        if why := why_not(message, sender, settings.own):
            return _Seen(None, why, returned(message))
        mail = read(message, sender)
        why = self._why_not(message, mail)
        return _Seen(None if why else mail, why)

    def _why_not(self, message: Message, mail: Mail) -> str:
        if not mail.sender or is_one_of(mail.sender, self.settings.own):
            return "it has no sender that can be answered"
        trusted = self.settings.trusted_server
        if trusted and not is_proven(message, mail.sender, trusted):
            return "nobody has seen that its sender is real"
        return why_not_said(mail.text)

    def _pass_over(self, why: str) -> bool:
        self._passed_over[why] += 1
        return False

    # Out

    async def deliver(self, parcel: Parcel) -> Delivered:
        ours = Ours(self._conversations.persona.character_name, self.settings.address)
        try:
            message = composed(ours, parcel)
        except (ValueError, IndexError) as exc:
            return Delivered("refused", f"it cannot be written as a mail: {exc}")
        senders = (self.settings.returns, ours.address)
        return await smtp_out.send(self._server, message, senders, parcel.address)

    # An application

    def routes(self) -> list[Route]:
        path = "/email" if self.name == "email" else f"/email/{self.name}"
        takes, gives = {JSON: MailCall}, {JSON: Answered}
        return [Route(path, lambda _: "token", self.handle, takes=takes, gives=gives)]

    async def handle(self, incoming: Incoming) -> Reply:
        """That the application may come in has been seen to."""
        try:
            call = read_json(incoming, MailCall)
            if not address_in(call.email):
                raise InvalidMessage("`email` should be one address, as in anna@example.org.")
            prompt = f"{call.subject}\n{call.body}"
            told = await answered(self._conversations, call.user_id, prompt, "Email")
        except WaifuError as error:
            return refusal(error)
        return json_reply(200, told)


def _prompt(mail: Mail) -> str:
    """Its subject is part of what somebody says; what cannot be read is named."""
    said = f"{mail.subject}\n{mail.text}".strip() or "(an empty mail)"
    if not mail.attachments:
        return said
    return f"{said}\n[With this came {', '.join(mail.attachments[:20])}, which you cannot see.]"
