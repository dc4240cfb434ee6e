"""All that is kept of a user, or of a chat: a row a line, read in parts of some size.

`SUBJECTS` has, for each of the two, how one is found, how all are, and what is kept of one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, or_, select

from waifu_llm.chats import chats as rooms
from waifu_llm.chats import records
from waifu_llm.chats import users as people
from waifu_llm.chats.database import Database
from waifu_llm.chats.fields import iso
from waifu_llm.chats.tables import channel_people, channel_stops, chats, members, messages, users
from waifu_llm.chats.tables import records as record_table
from waifu_llm.chats.transaction import AnyRow, Transaction

_ROWS = 500
Line = dict[str, Any]


async def of_user(database: Database, user: AnyRow) -> AsyncGenerator[Line]:
    """The user, the addresses on channels, the records, the chats, and what the user wrote with
    what was answered to it."""
    yield {"type": "user", **people.shape(user)}
    async for row in _rows(database, _addresses(user.number), channel_people.c.number):
        told = {"channel": row.channel, "address": row.address, "stopped": row.stopped}
        yield {"type": "channel", **told, "created_at": iso(row.created)}
    async for row in _rows(
        database,
        select(record_table).where(record_table.c.user == user.number),
        record_table.c.number,
    ):
        told = records.shape(row)
        yield {"type": "record", "instruction": told.pop("type"), **told}
    mine = chats.c.number.in_(select(members.c.chat).where(members.c.user == user.number))
    async for row in _rows(database, select(chats).where(mine), chats.c.number):
        yield await chat_line(database, row)
    own = select(messages.c.number).where(messages.c.user == user.number)
    async for line in _messages(
        database, or_(messages.c.user == user.number, messages.c.question.in_(own))
    ):
        yield line


def _addresses(user: int) -> Select[Any]:
    theirs, stops = channel_people.c, channel_stops.c
    same = and_(stops.channel == theirs.channel, stops.who == theirs.who)
    stopped = stops.who.is_not(None).label("stopped")
    joined = select(channel_people, stopped).outerjoin(channel_stops, same)
    return joined.where(theirs.user == user)


async def of_chat(database: Database, chat: AnyRow) -> AsyncGenerator[Line]:
    """The chat, and what was said in it."""
    yield await chat_line(database, chat)
    async for line in _messages(database, messages.c.chat == chat.number):
        yield line


async def all_users(database: Database) -> AsyncIterator[AnyRow]:
    async for row in _rows(database, select(users), users.c.number):
        yield row


async def all_chats(database: Database) -> AsyncIterator[AnyRow]:
    async for row in _rows(database, select(chats), chats.c.number):
        yield row


async def find_user(database: Database, word: str) -> AnyRow:
    """
    Raises:
        InvalidMessage: When there is none such.
    """
    return await database.read(
        lambda connection: people.find_by_word(Transaction(connection), word)
    )


async def find_chat(database: Database, word: str) -> AnyRow:
    """
    Raises:
        InvalidMessage: When there is none such.
    """
    find = rooms.find_for
    return await database.read(lambda connection: find(Transaction(connection), word, None))


class Subject(NamedTuple):
    """What is asked for: a user, or a chat."""

    find: Callable[[Database, str], Awaitable[AnyRow]]
    all: Callable[[Database], AsyncIterator[AnyRow]]
    lines: Callable[[Database, AnyRow], AsyncGenerator[Line]]
    """What it is itself comes first."""

    async def head(self, database: Database, row: AnyRow) -> Line:
        """That alone."""
        async with aclosing(self.lines(database, row)) as lines:
            return await anext(lines)


SUBJECTS = {
    "user": Subject(find_user, all_users, of_user),
    "chat": Subject(find_chat, all_chats, of_chat),
}


async def chat_line(database: Database, chat: AnyRow) -> Line:
    async def find(transaction: Transaction) -> dict[int, list[AnyRow]]:
        return await rooms.who_is_in(transaction, [chat])

    who = await database.read(lambda connection: find(Transaction(connection)))
    return {"type": "chat", **rooms.shape(chat, who[chat.number])}


async def _messages(database: Database, wanted: ColumnElement[bool]) -> AsyncGenerator[Line]:
    chat_ids: dict[int, str] = {}
    async for row in _rows(database, rooms.with_names().where(wanted), messages.c.number):
        if row.chat not in chat_ids:
            chat_ids[row.chat] = await _id_of(database, row.chat)
        yield {"type": "message", **rooms.shape_of_message(row, chat_ids[row.chat])}


async def _id_of(database: Database, chat: int) -> str:
    statement = select(chats.c.id).where(chats.c.number == chat)
    row = await database.read(lambda connection: Transaction(connection).first(statement))
    return row.id if row else ""


async def _rows(
    database: Database, statement: Select[Any], number: ColumnElement[int]
) -> AsyncIterator[AnyRow]:
    ordered = statement.order_by(number).limit(_ROWS)
    rows = await _all(database, ordered)
    while rows:
        for row in rows:
            yield row
        rows = await _all(database, ordered.where(number > rows[-1].number))


async def _all(database: Database, statement: Select[Any]) -> Sequence[AnyRow]:
    return await database.read(lambda connection: Transaction(connection).all(statement))
