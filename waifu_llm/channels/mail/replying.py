"""An answer as a mail: to one person, in the thread, and marked as a machine's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy
from email.utils import format_datetime, localtime
from typing import Any

from msgspec import Struct

from waifu_llm.channels.channel import Parcel
from waifu_llm.channels.mail.ids import own_id
from waifu_llm.channels.mail.machines import LOOP
from waifu_llm.channels.mail.reading import Mail, ids_in

_AGAIN = re.compile(
    r"^((re|aw|sv|antw?|ref|rif|res|odp|vs|ynt|отв|回复|答复|返信|답장)(\[\d+\])?\s?[:：]\s*)+",
    re.IGNORECASE,
)
_LONGEST_SUBJECT = 300


class _WithIds(EmailPolicy):
    """Ids as they are, one a line: the library would encode a long one, and then it is another."""

    def fold(self, name: str, value: str) -> str:
        if name.lower() not in ("message-id", "in-reply-to", "references"):
            folded: str = super().fold(name, value)
            return folded
        return f"{name}: " + f"{self.linesep} ".join(str(value).split()) + self.linesep

    def fold_binary(self, name: str, value: str) -> bytes:
        if name.lower() not in ("message-id", "in-reply-to", "references"):
            return super().fold_binary(name, value)
        return self.fold(name, value).encode("ascii")


_POLICY = _WithIds(linesep=SMTP.linesep, max_line_length=SMTP.max_line_length)


class Ours(Struct, frozen=True):
    """Whose answer it is."""

    name: str
    address: str


def about(mail: Mail) -> dict[str, Any]:
    """What has to be known of a mail to answer it."""
    return {"subject": mail.subject, "references": mail.references}


def composed(ours: Ours, parcel: Parcel) -> EmailMessage:
    """
    Raises:
        ValueError: When the address is none that can be written to.
    """
    message = EmailMessage(policy=_POLICY)
    message["From"] = _address(ours.address, ours.name)
    message["To"] = _address(parcel.address)
    message["Subject"] = subject_of(str(parcel.about.get("subject", "")))
    message["Date"] = format_datetime(localtime())
    message["Message-ID"] = own_id(parcel.id, ours.address)
    _thread(message, parcel.about)
    message["Auto-Submitted"] = "auto-replied"
    message["X-Auto-Response-Suppress"] = "All"
    message[LOOP] = ours.address
    message.set_content(parcel.text, charset="utf-8")
    return message


def subject_of(said: str) -> str:
    """`Re:` once, however many were there, in one line."""
    plain = "".join(each if each.isprintable() else " " for each in said)
    rest = _AGAIN.sub("", " ".join(plain.split()))[:_LONGEST_SUBJECT]
    return f"Re: {rest}".strip()


def _thread(message: EmailMessage, known: Mapping[str, Any]) -> None:
    said = known.get("references")
    ids = [each for each in said if _is_id(each)] if isinstance(said, list) else []
    if ids:
        message["In-Reply-To"] = ids[-1]
        message["References"] = " ".join(ids)


def _is_id(said: str) -> bool:
    return said.isascii() and said.isprintable() and ids_in(said) == [said]


def _address(address: str, name: str = "") -> Address:
    shown = "".join(each for each in name if each.isprintable())[:200]
    return Address(display_name=shown, addr_spec=address)
