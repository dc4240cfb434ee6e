"""That one of our answers came back, and why: in a report (RFC 3464), or in a text of those servers
that write none."""

from __future__ import annotations

import re
from email.message import Message
from itertools import islice

from waifu_llm.channels.mail.headers import header
from waifu_llm.channels.mail.ids import parcel_within
from waifu_llm.channels.mail.reading import text_in

_MOST_PARTS = 50
_FOR_GOOD = re.compile(r"(?<![\d.])(5\d\d[ -][^\n]{3,}|5\.\d{1,3}\.\d{1,3}(?!\d)[^\n]*)")


def returned(message: Message) -> tuple[str, str] | None:
    """The parcel that came back, and what the server said; None where it is no such mail, or
    nothing has failed for good."""
    parts = list(islice(message.walk(), _MOST_PARTS))
    is_report = message.get_content_type() == "multipart/report"
    said = _of_report(parts) if is_report else _of_text(parts)
    parcel = parcel_within(message) if said else ""
    return (parcel, " ".join(said.split())[:200]) if parcel else None


def _of_report(parts: list[Message]) -> str:
    status = next((each for each in parts if header(each, "Action")), None)
    if status is None or header(status, "Action").strip().lower() != "failed":
        return ""
    return header(status, "Diagnostic-Code") or header(status, "Status") or "no reason"


def _of_text(parts: list[Message]) -> str:
    """The line with a code that says so: those of delays begin with a 4."""
    texts = (text_in(each) for each in parts if each.get_content_maintype() == "text")
    found = _FOR_GOOD.search(next(texts, ""))
    return found[0] if found else ""
