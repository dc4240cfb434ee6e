"""What was said in a chat, as it goes to a model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from sqlalchemy import select

from waifu_llm.chats.tables import members, messages, users
from waifu_llm.chats.transaction import AnyRow, Transaction
from waifu_llm.conversation import Message

MOST_CHARACTERS = 4_000_000
"""Characters that go to a model: more than any takes, and less than breaks a pipe."""
Said = tuple[str, str, str | None]
"""Role, text, and who said it."""


async def said_before(
    transaction: Transaction, chat: int, end: int | None, most: int
) -> list[Said]:
    """The last messages of a chat, or those before one."""
    statement = (
        select(messages.c.role, messages.c.content, users.c.username)
        .outerjoin(users, users.c.number == messages.c.user)
        .where(messages.c.chat == chat)
        .order_by(messages.c.number.desc())
        .limit(most)
    )
    if end is not None:
        statement = statement.where(messages.c.number < end)
    newest_first = await transaction.all(statement)
    lengths = accumulate(len(row.content) for row in newest_first)
    rows = [
        row for row, length in zip(newest_first, lengths, strict=True) if length <= MOST_CHARACTERS
    ]
    return [(row.role, row.content, row.username) for row in reversed(rows)]


def as_messages(said: Sequence[Said], several: bool) -> list[Message]:
    """Where several speak, the model is told who does."""
    who = {name for role, _, name in said if role == "user"}
    named = several or len(who) > 1
    return [
        Message("assistant" if role == "assistant" else "user", content, name if named else None)
        for role, content, name in said
    ]


async def are_several(transaction: Transaction, chat: AnyRow) -> bool:
    statement = select(members.c.user).where(members.c.chat == chat.number).limit(2)
    return len(await transaction.all(statement)) > 1
