"""A report that one of our answers came back (RFC 3464), and why."""

from __future__ import annotations

from email.message import Message

from waifu_llm.channels.mail.headers import header
from waifu_llm.channels.mail.replying import parcel_in

_MOST_PARTS = 50


def returned(message: Message) -> tuple[str, str] | None:
    """The parcel that came back, and what the server said; None where it is no such report, or
    nothing has failed for good."""
    if message.get_content_type() != "multipart/report":
        return None
    parts = [part for _, part in zip(range(_MOST_PARTS), message.walk(), strict=False)]
    status = next((each for each in parts if header(each, "Action")), None)
    if status is None or header(status, "Action").strip().lower() != "failed":
        return None
    parcel = next(filter(None, map(_parcel, parts)), "")
    said = header(status, "Diagnostic-Code") or header(status, "Status")
    return (parcel, " ".join(said.split())[:200] or "no reason") if parcel else None


def _parcel(part: Message) -> str:
    """In the mail that is within, or in its headers alone."""
    named = header(part, "Message-ID") if part.get_content_maintype() != "multipart" else ""
    if not named and part.get_content_type() == "text/rfc822-headers":
        named = str(part.get_payload())
    return parcel_in(named)
