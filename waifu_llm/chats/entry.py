"""A line of the table of instructions: what data an instruction has, and who carries it out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

from msgspec import Struct

from waifu_llm.chats.database import Database
from waifu_llm.chats.transaction import Outcome, Transaction
from waifu_llm.engine import Engine

Handler = Callable[[Any, Transaction, Engine], Awaitable[Outcome]]
"""Gets the data, the store in a transaction, and the engine. What it raises undoes what it did."""
KeyKept = Callable[[Any, str | None, Database, Engine], AbstractAsyncContextManager[str | None]]
"""Gets the data, and the id by which the instruction is known."""


class Entry(NamedTuple):
    """One type of instructions."""

    data: type[Struct]
    handler: Handler
    reads_only: bool = False
    keeps_key: KeyKept | None = None
    """Puts a key that comes with it where keys are, around the transaction; gives its name."""
    is_recorded: bool = True


def reads(data: type[Struct], handler: Handler) -> Entry:
    return Entry(data, handler, reads_only=True)
