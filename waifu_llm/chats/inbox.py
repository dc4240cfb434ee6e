"""Instructions that were accepted, and whose answer has not reached its sender for certain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import delete, select, update

from waifu_llm.chats.tables import inbox
from waifu_llm.chats.transaction import AnyRow, Transaction
from waifu_llm.secrecy import without_secrets

_encode = msgspec.json.Encoder().encode
_Text = dict[str, str]
Values = dict[str, Any]


class Accepted(Struct, frozen=True):
    """One of them, and how its sender is to be answered."""

    key: str
    instruction: dict[str, Any]
    reply: _Text


class Waiting(Struct, frozen=True):
    """What it has to wait for, without what it says."""

    key: str
    chat: int | None = None
    """Answers in one are given one after the other; None where there is no such chat."""
    asked: str = ""
    """Whose places it needs: an address, or a provider of the module's own."""


def row(
    waiting: Waiting, instruction: Mapping[str, Any], reply: Mapping[str, str], at: float
) -> Values:
    """To be put in. `at` is its place among the others."""
    data = instruction.get("data")
    kept = without_secrets(data) if isinstance(data, Mapping) else data
    return {
        **msgspec.structs.asdict(waiting),
        "instruction": _encode({**instruction, "data": kept}).decode(),
        "reply": _encode(reply).decode(),
        "accepted": at,
    }


async def put(transaction: Transaction, rows: Sequence[Values]) -> None:
    """Each once, however often it comes."""
    new = {each["key"]: each for each in reversed(rows)}
    known = select(inbox.c.key).where(inbox.c.key.in_(new))
    for found in await transaction.all(known):
        del new[found.key]
    await transaction.insert_all(inbox, list(new.values()))


async def take_out(transaction: Transaction, keys: Sequence[str]) -> None:
    await transaction.run(delete(inbox).where(inbox.c.key.in_(keys)))


async def find(transaction: Transaction, key: str) -> Accepted | None:
    found = await transaction.first(select(inbox).where(inbox.c.key == key))
    return _accepted(found) if found else None


async def oldest(transaction: Transaction, limit: int) -> list[Waiting]:
    """Those that came first, in that order. What they say is not looked at: many may wait."""
    columns = inbox.c.key, inbox.c.chat, inbox.c.asked
    wanted = select(*columns).order_by(inbox.c.accepted, inbox.c.key).limit(limit)
    return [Waiting(*each) for each in await transaction.all(wanted)]


async def forget_user(transaction: Transaction, user: AnyRow) -> None:
    """What the user asked and nobody has answered yet: its sender will hear that there is no such
    user, and until then nothing else of it lies here."""
    for accepted in map(_accepted, await transaction.all(select(inbox))):
        data = accepted.instruction.get("data")
        if isinstance(data, dict) and _names(data, user):
            left = {**data, "user_id": user.id, "username": None, "user_input": "(deleted)"}
            emptied = {**accepted.instruction, "data": left}
            changed = update(inbox).where(inbox.c.key == accepted.key)
            await transaction.run(changed.values(instruction=_encode(emptied).decode()))


def _names(data: Mapping[str, Any], user: AnyRow) -> bool:
    said = {str(data.get(name)).casefold() for name in ("user_id", "username")}
    return bool(said & {user.id.casefold(), str(user.number), user.username})


def _accepted(row: AnyRow) -> Accepted:
    reply = msgspec.json.decode(row.reply, type=_Text)
    return Accepted(row.key, msgspec.json.decode(row.instruction), reply)
