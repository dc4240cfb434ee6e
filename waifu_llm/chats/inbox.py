"""Instructions that were accepted, and whose answer has not reached its sender for certain."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import delete, insert, select, update

from waifu_llm.chats.tables import inbox
from waifu_llm.chats.transaction import AnyRow, Transaction
from waifu_llm.secrecy import without_secrets

_encode = msgspec.json.Encoder().encode
_Text = dict[str, str]


class Accepted(Struct, frozen=True):
    """One of them, and how its sender is to be answered."""

    key: str
    instruction: dict[str, Any]
    reply: _Text


async def put(
    transaction: Transaction, key: str, instruction: Mapping[str, Any], reply: Mapping[str, str]
) -> None:
    """Once, however often it comes."""
    if await transaction.first(select(inbox.c.key).where(inbox.c.key == key)):
        return
    data = instruction.get("data")
    kept = without_secrets(data) if isinstance(data, Mapping) else data
    values = {
        "key": key,
        "instruction": _encode({**instruction, "data": kept}).decode(),
        "reply": _encode(reply).decode(),
        "accepted": time.time(),
    }
    await transaction.run(insert(inbox).values(values))


async def take_out(transaction: Transaction, key: str) -> None:
    await transaction.run(delete(inbox).where(inbox.c.key == key))


async def forget_user(transaction: Transaction, user: AnyRow) -> None:
    """What the user asked and nobody has answered yet: its sender will hear that there is no such
    user, and until then nothing else of it lies here."""
    for accepted in await everything(transaction):
        data = accepted.instruction.get("data")
        if isinstance(data, dict) and _names(data, user):
            left = {**data, "user_id": user.id, "username": None, "user_input": "(deleted)"}
            emptied = {**accepted.instruction, "data": left}
            changed = update(inbox).where(inbox.c.key == accepted.key)
            await transaction.run(changed.values(instruction=_encode(emptied).decode()))


def _names(data: Mapping[str, Any], user: AnyRow) -> bool:
    said = {str(data.get(name)).casefold() for name in ("user_id", "username")}
    return bool(said & {user.id.casefold(), str(user.number), user.username})


async def everything(transaction: Transaction) -> list[Accepted]:
    """In the order that it came."""
    rows = await transaction.all(select(inbox).order_by(inbox.c.accepted, inbox.c.key))
    return [
        Accepted(
            row.key,
            msgspec.json.decode(row.instruction),
            msgspec.json.decode(row.reply, type=_Text),
        )
        for row in rows
    ]
