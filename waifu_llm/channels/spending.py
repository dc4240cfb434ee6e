"""How much was said of late, and what that cost, held against the limits: parts of transactions."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import delete, func, insert, select

from waifu_llm.channels.persona import Limits
from waifu_llm.channels.received import pending
from waifu_llm.chats.tables import channel_replies
from waifu_llm.chats.transaction import Transaction

TEN_MINUTES, DAY = 600.0, 86_400.0


async def why_not(
    transaction: Transaction, channel: str, who: str, limits: Limits, cost: int = 1
) -> str | None:
    """Which limit another answer would break. Those that are to be given yet count."""
    ours = channel_replies.c.channel == channel
    theirs = ours, channel_replies.c.who == who
    many, dear = func.count(), func.coalesce(func.sum(channel_replies.c.cost), 0)
    to_come = await pending(transaction, channel, who)
    if await _since(transaction, many, TEN_MINUTES, *theirs) + to_come >= limits.per_ten_minutes:
        return f"{limits.per_ten_minutes} answers in ten minutes"
    if await _since(transaction, many, DAY, *theirs) + to_come >= limits.per_day:
        return f"{limits.per_day} answers a day"
    if await _since(transaction, dear, DAY, *theirs) + cost > limits.cost_per_day_per_person:
        return f"a cost of {limits.cost_per_day_per_person} a day for one person"
    return await why_nobody(transaction, channel, limits, cost)


async def why_nobody(
    transaction: Transaction, channel: str, limits: Limits, cost: int = 1
) -> str | None:
    """The limit of all people together, if another answer would break that."""
    ours = channel_replies.c.channel == channel
    dear = func.coalesce(func.sum(channel_replies.c.cost), 0)
    if await _since(transaction, dear, DAY, ours) + cost > limits.cost_per_day:
        return f"a cost of {limits.cost_per_day} a day"
    return None


async def is_too_dear(
    transaction: Transaction, channel: str, who: str, limits: Limits, cost: int
) -> bool:
    """How many there are was looked at when the message came; only now is it known how long."""
    ours = channel_replies.c.channel == channel
    dear = func.coalesce(func.sum(channel_replies.c.cost), 0)
    of_all = await _since(transaction, dear, DAY, ours) + cost
    of_one = await _since(transaction, dear, DAY, ours, channel_replies.c.who == who)
    return of_all > limits.cost_per_day or of_one + cost > limits.cost_per_day_per_person


async def _since(transaction: Transaction, what: Any, seconds: float, *which: Any) -> int:
    recent = channel_replies.c.at > time.time() - seconds
    row = await transaction.first(select(what).select_from(channel_replies).where(recent, *which))
    return int(row[0]) if row else 0


async def note_reply(transaction: Transaction, channel: str, who: str, cost: int) -> None:
    values = {"channel": channel, "who": who, "cost": cost, "at": time.time()}
    await transaction.run(insert(channel_replies).values(values))


async def forget_old(transaction: Transaction) -> None:
    old = channel_replies.c.at < time.time() - 2 * DAY
    await transaction.run(delete(channel_replies).where(old))
