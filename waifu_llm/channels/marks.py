"""What channels have to know again after a restart, such as how far they have read."""

from __future__ import annotations

from sqlalchemy import delete, insert, select

from waifu_llm.chats.tables import channel_marks
from waifu_llm.chats.transaction import Transaction


async def recall(transaction: Transaction, channel: str, name: str) -> str | None:
    this = channel_marks.c.channel == channel, channel_marks.c.name == name
    row = await transaction.first(select(channel_marks.c.value).where(*this))
    return row.value if row else None


async def remember(transaction: Transaction, channel: str, name: str, value: str) -> None:
    this = channel_marks.c.channel == channel, channel_marks.c.name == name
    await transaction.run(delete(channel_marks).where(*this))
    await transaction.run(insert(channel_marks).values(channel=channel, name=name, value=value))
