"""A mailbox: where it is, how far it was read, and what is new in it."""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct

Security = Literal["tls", "starttls", "none"]


class Mailbox(Struct, frozen=True):
    """Which one, and as whom."""

    host: str
    port: int
    security: Security
    user: str
    password: str
    folder: str
    poll_seconds: float
    most_bytes: int
    seconds: float
    ca_file: str = ""


class Place(Struct, frozen=True):
    """How far it has been read."""

    validity: int
    last: int

    @classmethod
    def read(cls, said: str | None) -> Place | None:
        found = re.fullmatch(r"(\d+):(\d+)", said or "")
        return cls(int(found[1]), int(found[2])) if found else None

    def __str__(self) -> str:
        return f"{self.validity}:{self.last}"


class New(Struct, frozen=True):
    """One mail that is new; without its content where it is too large."""

    number: int
    content: bytes | None
