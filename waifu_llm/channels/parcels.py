"""Answers on their way out, in the store: waiting → sending → sent | refused | maybe | returned.

Each function is part of a transaction. The words of what is gone are taken out at once.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from sqlalchemy import delete, func, select, update

from waifu_llm.channels import stops
from waifu_llm.channels.channel import Parcel
from waifu_llm.channels.whose import who
from waifu_llm.chats.fields import storable
from waifu_llm.chats.tables import channel_parcels
from waifu_llm.chats.transaction import AnyRow, Transaction

_ON_THE_WAY = ("waiting", "sending")
_KEPT_SECONDS = 7 * 86_400.0
_encode = msgspec.json.Encoder().encode


async def send(
    transaction: Transaction, channel: str, user: int, address: str, text: str, about: Any
) -> None:
    now = time.time()
    await transaction.insert(
        channel_parcels,
        channel=channel,
        user=user,
        address=address,
        text=storable(text),
        about=storable(_encode(about).decode()),
        state="waiting",
        tries=0,
        due=now,
        created=now,
    )


async def next_one(transaction: Transaction, channel: str) -> Parcel | None:
    """The next that is to be brought now; from here on it is being brought, and nobody else gets
    it: whoever looked at the same time finds that it does not wait any more."""
    waiting = channel_parcels.c.channel == channel, channel_parcels.c.state == "waiting"
    due = select(channel_parcels.c.id).where(*waiting, channel_parcels.c.due <= time.time())
    found = await transaction.first(due.order_by(channel_parcels.c.due).limit(1))
    if found is None:
        return None
    taken = _parcel(found.id).where(channel_parcels.c.state == "waiting")
    values = {"state": "sending", "tries": channel_parcels.c.tries + 1}
    row = await transaction.first(taken.values(values).returning(channel_parcels))
    if row and await _is_refused(transaction, row):
        return None
    return _as_parcel(row) if row else None


async def put_back(transaction: Transaction, channel: str, besides: Collection[str]) -> None:
    """What is being brought, and is in nobody's hands: a commit that seemed to fail took it."""
    sending = channel_parcels.c.channel == channel, channel_parcels.c.state == "sending"
    strays = update(channel_parcels).where(*sending, channel_parcels.c.id.not_in(besides))
    await transaction.run(strays.values(state="waiting"))


async def _is_refused(transaction: Transaction, row: AnyRow) -> bool:
    """Who was to get it may have stopped while nobody could take it back."""
    if not await stops.has_stopped(transaction, row.channel, who(row.address)):
        return False
    await gone(transaction, row.id, "refused")
    return True


def _as_parcel(row: AnyRow) -> Parcel:
    return Parcel(row.id, row.address, row.text, msgspec.json.decode(row.about), row.tries)


async def next_due(transaction: Transaction, channel: str) -> float | None:
    waiting = channel_parcels.c.channel == channel, channel_parcels.c.state == "waiting"
    row = await transaction.first(select(func.min(channel_parcels.c.due)).where(*waiting))
    return row[0] if row else None


async def are_under_way(transaction: Transaction, channel: str, address: str) -> bool:
    """Whether this person is to get one now; one that waits for another try is none such."""
    theirs = channel_parcels.c.channel == channel, channel_parcels.c.address == address
    now = channel_parcels.c.state.in_(_ON_THE_WAY), channel_parcels.c.due <= time.time()
    statement = select(channel_parcels.c.id).where(*theirs, *now).limit(1)
    return await transaction.first(statement) is not None


async def again(transaction: Transaction, id: str, seconds: float) -> None:
    changed = _parcel(id).values(state="waiting", due=time.time() + seconds)
    if row := await transaction.first(changed.returning(channel_parcels)):
        await _is_refused(transaction, row)


async def gone(transaction: Transaction, id: str, state: str) -> None:
    await transaction.run(_parcel(id).values(state=state, text="", about="{}"))


async def return_it(transaction: Transaction, channel: str, id: str) -> bool:
    """Whether it was one of this channel's that came back."""
    sent = channel_parcels.c.channel == channel, channel_parcels.c.state.in_(("sent", "sending"))
    changed = _parcel(id).where(*sent).values(state="returned", text="", about="{}")
    return await transaction.first(changed.returning(channel_parcels.c.id)) is not None


async def discard(transaction: Transaction, channel: str, address: str) -> None:
    """Who was to get it wants nothing more."""
    waiting = channel_parcels.c.state == "waiting", channel_parcels.c.address == address
    changed = update(channel_parcels).where(channel_parcels.c.channel == channel, *waiting)
    await transaction.run(changed.values(state="refused", text="", about="{}"))


async def left_over(transaction: Transaction, channel: str, *, sends_again: bool) -> int:
    """What was being brought when the module died, is brought again where that does no harm."""
    sending = channel_parcels.c.channel == channel, channel_parcels.c.state == "sending"
    values: Mapping[str, Any] = {"state": "waiting"}
    if not sends_again:
        values = {"state": "maybe", "text": "", "about": "{}"}
    changed = update(channel_parcels).where(*sending).values(values)
    return len(await transaction.all(changed.returning(channel_parcels.c.id)))


def _parcel(id: str) -> Any:
    return update(channel_parcels).where(channel_parcels.c.id == id)


async def forget_old(transaction: Transaction) -> None:
    old = channel_parcels.c.created < time.time() - _KEPT_SECONDS
    done = channel_parcels.c.state.not_in(_ON_THE_WAY)
    await transaction.run(delete(channel_parcels).where(old, done))
