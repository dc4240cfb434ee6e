"""Whether a mail's sender is who it says, by the word of a server that the operator trusts.

We look up nobody's DNS: SPF, DKIM and DMARC are for the server that took the mail. What it found
stands in `Authentication-Results` (RFC 8601), under its own name.
"""

from __future__ import annotations

import re
from email.message import Message

from waifu_llm.channels.mail.headers import unfolded
from waifu_llm.channels.mail.reading import address_in

_COMMENT = re.compile(r"\([^()]*\)")
_RESULT = re.compile(r"\s*(dmarc|spf)\s*=\s*pass(?=\s|$)(.*)", re.IGNORECASE | re.DOTALL)
_PART = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
"""Up to the next `;` that stands in no quotes."""
_MAIL_FROM = re.compile(r"smtp\.mailfrom\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)


def is_proven(message: Message, sender: str, trusted: str) -> bool:
    """The first with that server's name counts: those below came with the mail."""
    for said in message.get_all("Authentication-Results", []):
        server, *results = _PART.findall(_without_comments(str(said))) or [""]
        if server.strip().split(" ")[0].lower() == trusted.lower():
            found = filter(None, map(_RESULT.match, results))
            return any(_proves(each, message, sender) for each in found)
    return False


def _without_comments(said: str) -> str:
    """They may stand in each other."""
    while (plain := _COMMENT.sub("", said)) != said:
        said = plain
    return plain


def _proves(result: re.Match[str], message: Message, sender: str) -> bool:
    """DMARC is about who stands in `From`, SPF about who the envelope names."""
    if result[1].lower() == "dmarc":
        return address_in(unfolded(message, "From")) == sender
    named = _MAIL_FROM.search(result[2])
    domain = sender.rpartition("@")[2]
    return bool(named) and named[1].lower().rpartition("@")[2] == domain if named else False
