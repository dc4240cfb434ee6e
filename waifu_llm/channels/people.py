"""Who writes over a channel: a user of the store, with one chat. Deleted with that user.

Users and chats are made by the handlers of the instructions, so that what holds for those holds
here.
"""

from __future__ import annotations

import re
import secrets
import time
from typing import Any

from msgspec import Struct
from sqlalchemy import insert, or_, select, update

from waifu_llm.channels import stops
from waifu_llm.channels.channel import OF_APPLICATION
from waifu_llm.channels.whose import who
from waifu_llm.chats import chats as rooms
from waifu_llm.chats import users as accounts
from waifu_llm.chats.tables import channel_people, members, users
from waifu_llm.chats.transaction import AnyRow, Transaction

_LONGEST_NAME = 30


class Person(Struct, frozen=True):
    """One of them, by the numbers of the store."""

    number: int
    user: int
    chat: int
    who: str
    stopped: bool


async def find_or_make(transaction: Transaction, engine: Any, channel: str, address: str) -> Person:
    """The person of this address, with a user and a chat: made where there are none."""
    row = await find(transaction, channel, address)
    if row is None:
        row = await _make(transaction, engine, channel, address)
    chat = row.chat
    if chat is None or not await _is_in(transaction, row):
        chat = await _new_chat(transaction, engine, row)
        this = channel_people.c.number == row.number
        await transaction.run(update(channel_people).where(this).values(chat=chat))
    stopped = await stops.has_stopped(transaction, channel, row.who)
    return Person(row.number, row.user, chat, row.who, stopped)


async def find(transaction: Transaction, channel: str, address: str) -> AnyRow | None:
    known = channel_people.c.channel == channel, channel_people.c.address == address
    return await transaction.first(select(channel_people).where(*known))


async def _make(transaction: Transaction, engine: Any, channel: str, address: str) -> AnyRow:
    user = await _user_named(transaction, address)
    if user is None:
        user = await _new_user(transaction, engine, channel, address)
    values = {"channel": channel, "address": address, "user": user, "who": who(address)}
    row = insert(channel_people).values(created=time.time(), **values).returning(channel_people)
    made = await transaction.first(row)
    assert made is not None
    return made


async def _user_named(transaction: Transaction, address: str) -> int | None:
    """The one that the application made before, and names here."""
    name = address.removeprefix(OF_APPLICATION)
    if name == address:
        return None
    meant = or_(users.c.id == name, users.c.username == name.casefold())
    found = await transaction.first(select(users.c.number).where(meant))
    return found.number if found else None


async def _new_user(transaction: Transaction, engine: Any, channel: str, address: str) -> int:
    shown = address.removeprefix(OF_APPLICATION)
    data = accounts.UserCreate(
        username=await _free_name(transaction, f"{channel}_{shown}"), display_name=shown[:128]
    )
    await accounts.create(data, transaction, engine)
    assert transaction.user is not None
    return transaction.user


async def _free_name(transaction: Transaction, wanted: str) -> str:
    """It may be read, and is nobody else's."""
    readable = re.sub(r"[^a-z0-9]+", "_", wanted.casefold()).strip("_")
    readable = readable if readable[:1].isalpha() else f"c_{readable}"
    name = readable[:_LONGEST_NAME]
    while await transaction.first(select(users.c.number).where(users.c.username == name)):
        name = f"{readable[: _LONGEST_NAME - 9]}_{secrets.token_hex(4)}"
    return name


async def _new_chat(transaction: Transaction, engine: Any, row: AnyRow) -> int:
    title = f"{row.channel}: {row.address.removeprefix(OF_APPLICATION)}"[:512]
    data = rooms.ChatCreate(title=title, user_ids=[row.user])
    await rooms.create(data, transaction, engine)
    assert transaction.chat is not None
    return transaction.chat


async def _is_in(transaction: Transaction, row: AnyRow) -> bool:
    """An application may have put this user out of that chat."""
    inside = members.c.chat == row.chat, members.c.user == row.user
    return await transaction.first(select(members.c.chat).where(*inside)) is not None
