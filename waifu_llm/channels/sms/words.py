"""The words that carriers want obeyed, when a message is one of them and nothing else."""

from __future__ import annotations

import re
from typing import Literal

Word = Literal["stop", "start", "help"]
_STOP = {"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "optout", "revoke"}
_START = {"start", "unstop"}
_HELP = {"help", "info"}
PHONE = re.compile(r"\+[1-9]\d{6,14}")
"""A number as E.164 writes it."""


def word_of(text: str) -> Word | None:
    said = text.strip().strip(".!\"'").casefold().replace(" ", "")
    if said in _STOP:
        return "stop"
    if said in _START:
        return "start"
    return "help" if said in _HELP else None
