"""What came, in the store: accepted → answered | saying | refused | failed, and saying → answered |
maybe. Known by a digest of its id.

Each function is part of a transaction. Of what is over only that it was is kept, for a while; its
words are taken out at once.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import delete, func, insert, select, true, update

from waifu_llm.channels.channel import Said
from waifu_llm.chats.fields import storable
from waifu_llm.chats.tables import channel_people, channel_received
from waifu_llm.chats.transaction import AnyRow, Transaction

_KEPT_SECONDS = 30 * 86_400.0
_encode = msgspec.json.Encoder().encode


class Received(Struct, frozen=True):
    """What came, and is to be answered."""

    key: str
    address: str
    text: str
    about: dict[str, Any]
    tries: int


def key_of(id: str) -> str:
    """Of any length, from anybody: kept as something that tells nothing."""
    return hashlib.sha256(id.encode("utf-8", "replace")).hexdigest()


async def state_of(transaction: Transaction, channel: str, key: str) -> str | None:
    """None of what never came."""
    row = await transaction.first(select(channel_received.c.state).where(*_this(channel, key)))
    return row.state if row else None


async def accept(
    transaction: Transaction, channel: str, person: int | None, said: Said, state: str
) -> None:
    """With its words only where it is to be answered. `person` is a number of `people`."""
    kept = state == "accepted"
    values = {
        "channel": channel,
        "id": key_of(said.id),
        "person": person,
        "text": storable(said.text) if kept else "",
        "about": storable(_encode(said.about).decode()) if kept else "{}",
        "state": state,
        "tries": 0,
        "accepted": time.time(),
    }
    await transaction.run(insert(channel_received).values(values))


async def is_known(transaction: Transaction, channel: str, key: str) -> bool:
    return await state_of(transaction, channel, key) is not None


async def is_waiting(transaction: Transaction, channel: str, key: str) -> bool:
    return await state_of(transaction, channel, key) == "accepted"


async def settle(transaction: Transaction, channel: str, key: str, state: str) -> None:
    values = {"state": state, "text": "", "about": "{}"}
    changed = update(channel_received).where(*_this(channel, key))
    await transaction.run(changed.values(values))


async def said(transaction: Transaction, channel: str, keys: Collection[str]) -> int:
    """Of how many it was not known yet that whoever was handed the answer has it."""
    return await _settle_said(transaction, channel_received.c.id.in_(keys), channel, "answered")


async def left_over(transaction: Transaction, channel: str) -> int:
    """What was being said when the module died."""
    return await _settle_said(transaction, true(), channel, "maybe")


async def _settle_said(transaction: Transaction, which: Any, channel: str, state: str) -> int:
    saying = channel_received.c.channel == channel, channel_received.c.state == "saying"
    changed = update(channel_received).where(which, *saying).values(state=state)
    return len(await transaction.all(changed.returning(channel_received.c.id)))


async def unanswered(
    transaction: Transaction, channel: str, besides: Collection[str]
) -> list[Received]:
    """The oldest first. What ends the module again and again is given up: see `tried`."""
    waiting = channel_received.c.channel == channel, channel_received.c.state == "accepted"
    joined = select(channel_received, channel_people.c.address).join(
        channel_people, channel_people.c.number == channel_received.c.person
    )
    rows = await transaction.all(joined.where(*waiting).order_by(channel_received.c.accepted))
    return [_received(row) for row in rows if row.id not in besides]


async def tried(transaction: Transaction, channel: str, key: str, tries: int) -> None:
    changed = update(channel_received).where(*_this(channel, key))
    await transaction.run(changed.values(tries=tries))


def _received(row: AnyRow) -> Received:
    return Received(row.id, row.address, row.text, msgspec.json.decode(row.about), row.tries + 1)


def _this(channel: str, key: str) -> tuple[Any, Any]:
    return channel_received.c.channel == channel, channel_received.c.id == key


async def pending(transaction: Transaction, channel: str, who: str) -> int:
    """How many are to be answered yet, of all addresses of one."""
    of_whom = channel_people.c.number == channel_received.c.person
    theirs = channel_people.c.channel == channel, channel_people.c.who == who
    counted = select(func.count()).select_from(channel_received).join(channel_people, of_whom)
    row = await transaction.first(counted.where(*theirs, channel_received.c.state == "accepted"))
    return row[0] if row else 0


async def forget_old(transaction: Transaction) -> None:
    old = channel_received.c.accepted < time.time() - _KEPT_SECONDS
    await transaction.run(
        delete(channel_received).where(old, channel_received.c.state != "accepted")
    )
