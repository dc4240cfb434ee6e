"""Who wants nothing more, in the store: parts of transactions. See `whose` for what is kept."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import delete, insert, select

from waifu_llm.chats.tables import channel_stops
from waifu_llm.chats.transaction import Transaction


async def has_stopped(transaction: Transaction, channel: str, who: str) -> bool:
    statement = select(channel_stops.c.who).where(*_this(channel, who))
    return await transaction.first(statement) is not None


async def stop(transaction: Transaction, channel: str, who: str) -> None:
    if not await has_stopped(transaction, channel, who):
        values = {"channel": channel, "who": who, "since": time.time()}
        await transaction.run(insert(channel_stops).values(values))


async def start(transaction: Transaction, channel: str, who: str) -> None:
    await transaction.run(delete(channel_stops).where(*_this(channel, who)))


def _this(channel: str, who: str) -> tuple[Any, Any]:
    return channel_stops.c.channel == channel, channel_stops.c.who == who
