"""Headers of a mail, as long as a person's are: longer ones are there to keep us busy."""

from __future__ import annotations

from collections.abc import Sequence
from email.header import decode_header
from email.message import Message
from email.policy import Compat32

MOST = 4_000
_MOST_OF = {"references": 20_000, "content-type": 1_000, "content-disposition": 1_000}
"""The library takes the square of their length to read the last two."""
_CHARSETS = {"ks_c_5601-1987": "cp949", "x-sjis": "cp932", "gb2312": "gb18030", "unicode": "utf-16"}


class Bounded(Compat32):
    """Cuts them while a mail is read: the library looks into some of them already then."""

    def header_source_parse(self, sourcelines: Sequence[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(list(sourcelines))
        return name, value[: _MOST_OF.get(name.lower(), MOST)]


def unfolded(message: Message, name: str) -> str:
    """As it was written, in one line. Addresses are looked for here: decoded, a name may have a
    comma that parts no addresses."""
    wanted = name.lower()
    raw = next((str(each) for key, each in message.raw_items() if key.lower() == wanted), "")
    return "".join(raw.splitlines())


def header(message: Message, name: str) -> str:
    """Decoded, whatever it is."""
    raw = unfolded(message, name)
    if not raw.isascii():  # as bytes, which nobody said how to read
        return as_text(raw.encode("utf-8", "surrogateescape"), None)
    return decoded(raw)


def decoded(value: str) -> str:
    try:
        pieces = decode_header(value)
    except Exception:  # the library's own faults, at what strangers wrote
        return value
    return "".join(
        as_text(piece, charset) if isinstance(piece, bytes) else piece for piece, charset in pieces
    )


def as_text(raw: bytes, charset: str | None) -> str:
    """In the charset that it is said to be in, else in one that it may be in."""
    named = _CHARSETS.get((charset or "").lower(), charset or "")
    for each in (named, "utf-8"):
        try:
            return raw.decode(each) if each else raw.decode("utf-8")
        except (LookupError, ValueError):
            continue
    return raw.decode("cp1252", "replace")
