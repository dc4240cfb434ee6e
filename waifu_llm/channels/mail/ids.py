"""The ids of our own mails, by which we know them again: each is a parcel's."""

from __future__ import annotations

import re
from email.message import Message
from itertools import islice

from waifu_llm.channels.mail.headers import unfolded

_OWN = re.compile(r"<waifu\.([A-Za-z0-9]{1,64})@")
_OWN_WITHIN = re.compile(rb"(?:<|&lt;)waifu\.([A-Za-z0-9]{1,64})@")
_MOST_PARTS, _MOST_BYTES, _MOST_FOUND = 50, 500_000, 20


def own_id(parcel: str, address: str) -> str:
    """The same at each try: whoever gets it twice can tell."""
    return f"<waifu.{parcel}@{address.rpartition('@')[2]}>"


def parcel_in(said: str) -> str:
    """Of which parcel that is the id; empty where it is none of ours."""
    found = _OWN.search(said)
    return found[1] if found else ""


def parcel_within(message: Message) -> str:
    """Of which parcel the id stands in the content: in a mail or in headers that are in it, or in
    its text. Programs put it there, where they give a mail back."""
    for part in islice(message.walk(), _MOST_PARTS):
        named = "" if part is message else parcel_in(unfolded(part, "Message-ID"))
        if found := named or _in_text(part):
            return found
    return ""


def _in_text(part: Message) -> str:
    if part.is_multipart() or part.get_content_maintype() not in ("text", "message"):
        return ""
    try:
        raw = part.get_payload(decode=True)
    except Exception:  # the library's own faults, at what strangers wrote
        return ""
    said = raw[:_MOST_BYTES] if isinstance(raw, bytes) else b""
    for found in islice(_OWN_WITHIN.finditer(said), _MOST_FOUND):
        if not _is_quoted(said, found.start()):
            return found[1].decode()
    return ""


def _is_quoted(said: bytes, at: int) -> bool:
    """As people do who answer, and programs do not."""
    line = said[said.rfind(b"\n", 0, at) + 1 : at]
    return line.lstrip().startswith(b">")
