"""A mail as it came: whose it is, what it is about, and its new text.

It may be anything: headers that are none, charsets that do not exist, parts within parts. What
cannot be read is left out, and nothing here fails.
"""

from __future__ import annotations

import email
import re
from collections.abc import Collection, Iterator
from email.message import Message
from email.utils import getaddresses

from msgspec import Struct

from waifu_llm.channels.mail.headers import MOST, Bounded, as_text, decoded, header, unfolded
from waifu_llm.channels.mail.markup import text_of
from waifu_llm.channels.mail.quoting import new_part

MOST_PARTS = 200
MOST_TEXT = 20_000
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,255}")
_TAG = re.compile(r"^(prvs=[^=@]+=|btv1==[^=@]+==)")
"""What some servers put before the sender's address, another each day."""
_ID = re.compile(r"<[^<>\s]{1,900}>")


class Mail(Struct, frozen=True):
    """What there is to know of one."""

    sender: str
    """In small letters; empty where there is none that can be answered."""
    subject: str
    text: str
    id: str
    references: list[str]
    attachments: list[str]


def parsed(raw: bytes) -> Message | None:
    """None where its parts are nested so deep that nobody meant it."""
    try:
        found: Message = email.message_from_bytes(raw, policy=Bounded())
        for _ in zip(range(MOST_PARTS), found.walk(), strict=False):
            pass
    except RecursionError:
        return None
    return found


def read(message: Message, envelope_sender: str | None) -> Mail:
    """Answers go to whom the envelope names, where that is known: what stands in `From` may be
    anybody."""
    texts, attachments = _parts(message)
    return Mail(
        sender=address_in(envelope_sender if envelope_sender is not None else _from(message)),
        subject=_line(header(message, "Subject"))[:500],
        text=new_part("\n\n".join(texts)[: 10 * MOST_TEXT])[:MOST_TEXT],
        id=next(iter(ids_in(unfolded(message, "Message-ID"))), ""),
        references=_references(message),
        attachments=attachments,
    )


def address_in(said: str) -> str:
    """The one address in that; empty where there is none, or one that ASCII cannot write."""
    said = said[:MOST]
    try:
        found = [address for _, address in getaddresses([said]) if address]
    except Exception:  # the library's own faults, at what strangers wrote
        return ""
    address = _TAG.sub("", found[0].lower()) if len(found) == 1 else ""
    return address if _ADDRESS.fullmatch(address) else ""


def without_tag(address: str) -> str:
    """`aria+x@example.org` is `aria@example.org`."""
    local, at, domain = address.lower().rpartition("@")
    return f"{local.partition('+')[0]}{at}{domain}"


def is_one_of(address: str, own: Collection[str]) -> bool:
    """Also with a tag."""
    return address.lower() in own or without_tag(address) in own


def ids_in(said: str) -> list[str]:
    return _ID.findall(said)


def _from(message: Message) -> str:
    """A mailbox keeps the envelope's sender here."""
    return unfolded(message, "Return-Path") or unfolded(message, "From")


def _references(message: Message) -> list[str]:
    before = ids_in(unfolded(message, "References")) or ids_in(unfolded(message, "In-Reply-To"))
    own = ids_in(unfolded(message, "Message-ID"))[:1]
    return [*(each for each in before if each not in own)][-20:] + own


def _line(text: str) -> str:
    """One line of what can be seen."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


# Parts


def _parts(message: Message) -> tuple[list[str], list[str]]:
    """Texts to be read, and what else is there."""
    texts: list[str] = []
    attachments: list[str] = []
    for _, part in zip(range(MOST_PARTS), _chosen(message), strict=False):
        if _is_text(part):
            texts.append(text_in(part))
        else:
            attachments.append(_name(part))
    return [each for each in texts if each.strip()], attachments


def _chosen(message: Message) -> Iterator[Message]:
    """Leaves; of alternatives the best. A mail within a mail is a leaf."""
    kind = message.get_content_type()
    if not message.is_multipart() or kind == "message/rfc822":
        yield message
        return
    inside = [each for each in message.get_payload() if isinstance(each, Message)]
    if kind != "multipart/alternative":
        for each in inside:
            yield from _chosen(each)
        return
    if best := _best(inside):
        yield from _chosen(best)


def _best(alternatives: list[Message]) -> Message | None:
    """Plain text where it says anything, else what comes last that has a text."""
    for each in alternatives:
        if each.get_content_type() == "text/plain" and text_in(each).strip():
            return each
    with_text = [each for each in alternatives if each.get_content_maintype() in _READ]
    return with_text[-1] if with_text else None


_READ = ("text", "multipart")


def _is_text(part: Message) -> bool:
    if part.get_content_type() not in ("text/plain", "text/html"):
        return False
    return part.get_content_disposition() != "attachment"


def text_in(part: Message) -> str:
    """Of one leaf."""
    try:
        raw = part.get_payload(decode=True)
    except Exception:  # as above
        return ""
    text = as_text(raw if isinstance(raw, bytes) else b"", _charset(part))
    return text_of(text) if part.get_content_type() == "text/html" else text


def _charset(part: Message) -> str | None:
    try:
        return part.get_content_charset()
    except Exception:  # as above
        return None


def _name(part: Message) -> str:
    try:
        name = _line(decoded(part.get_filename() or ""))[:100]
    except Exception:  # as above
        name = ""
    kind = part.get_content_type()[:100]
    return f"{name} ({kind})" if name else kind
