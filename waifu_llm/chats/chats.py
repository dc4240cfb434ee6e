"""Chats: who is in them, and what was said. Who names a user sees that user's chats only."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, delete, select, update

from waifu_llm.chats import answers, channel_words
from waifu_llm.chats import users as people
from waifu_llm.chats.entry import Entry, reads
from waifu_llm.chats.fields import (
    Limit,
    Names,
    NamesUser,
    Reference,
    References,
    Title,
    iso,
)
from waifu_llm.chats.tables import chats, llms, members, messages, providers, users
from waifu_llm.chats.transaction import AnyRow, Outcome, Transaction, page, paged, parts, refers
from waifu_llm.engine import Engine
from waifu_llm.errors import NotFound


class ChatCreate(NamesUser, kw_only=True):
    """Who is in it is said by ids, by names, or both; a user who asks is in it, too."""

    title: Title
    user_ids: References | None = None
    usernames: Names | None = None


class ChatUpdate(NamesUser, kw_only=True):
    """`user_ids` and `usernames` together are who is in it from now on; a user is who asks."""

    chat_id: Reference
    title: Title | None = None
    user_ids: References | None = None
    usernames: Names | None = None


class ChatNamed(NamesUser, kw_only=True):
    """One chat, and perhaps who asks."""

    chat_id: Reference


class ChatLoad(ChatNamed, kw_only=True):
    """The last so many of its messages, or of those before one."""

    limit: Limit = 1000
    before: Reference | None = None


class ChatList(NamesUser, kw_only=True):
    """All, or those of a user; see Page."""

    limit: Limit = 10_000
    after: Reference | None = None


# Finding


async def find(transaction: Transaction, named: Any, *, lock: bool = False) -> AnyRow:
    """The chat that is named, as far as the user who is named may know of it.

    Raises:
        InvalidMessage: When there is none such. It does not tell whether somebody else has it.
    """
    user = await people.find_if_named(transaction, named)
    return await find_for(transaction, named.chat_id, user, lock=lock)


async def find_for(
    transaction: Transaction, chat_id: Reference, user: AnyRow | None, *, lock: bool = False
) -> AnyRow:
    statement = _known_to(user).where(refers(chats, chat_id))
    found = await transaction.first(statement.with_for_update() if lock else statement)
    if found is None:
        raise NotFound(f"There is no chat `{chat_id}`.")
    transaction.chat = found.number
    return found


def _known_to(user: AnyRow | None) -> Select[Any]:
    if user is None:
        return select(chats)
    mine = select(members.c.chat).where(members.c.user == user.number)
    return select(chats).where(chats.c.number.in_(mine))


async def who_is_in(transaction: Transaction, rows: Sequence[AnyRow]) -> dict[int, list[AnyRow]]:
    """The members of these chats."""
    found: dict[int, list[AnyRow]] = defaultdict(list)
    joined = select(members.c.chat, users).join(users, users.c.number == members.c.user)
    for part in parts([row.number for row in rows]):
        wanted = joined.where(members.c.chat.in_(part)).order_by(members.c.chat, members.c.user)
        for row in await transaction.all(wanted):
            found[row.chat].append(row)
    return found


def shape(chat: AnyRow, who: Sequence[AnyRow]) -> dict[str, Any]:
    return {
        "chat_id": chat.id,
        "number": chat.number,
        "title": chat.title,
        "users": [
            {"user_id": each.id, "username": each.username, "display_name": each.display_name}
            for each in who
        ],
        "created_at": iso(chat.created),
    }


# Handlers


async def create(data: ChatCreate, transaction: Transaction, _: Engine) -> Outcome:
    asking = await people.find_if_named(transaction, data)
    who = list(await people.find_all(transaction, data.user_ids, data.usernames))
    if asking and asking.number not in {each.number for each in who}:
        who = sorted([*who, asking], key=lambda each: each.number)
    chat = await transaction.insert(chats, title=data.title, created=time.time())
    await _let_in(transaction, chat, who)
    _noted(transaction, chat, who)
    return f"Chat `{chat.title}` is created.", {"chat": shape(chat, who)}


def _noted(transaction: Transaction, chat: AnyRow, who: Sequence[AnyRow]) -> None:
    """The answer tells of all of them."""
    transaction.chat = chat.number
    transaction.told_of |= {each.number for each in who}


async def _let_in(transaction: Transaction, chat: AnyRow, who: Sequence[AnyRow]) -> None:
    rows = [{"chat": chat.number, "user": each.number} for each in who]
    await transaction.insert_all(members, rows)


async def change(data: ChatUpdate, transaction: Transaction, _: Engine) -> Outcome:
    chat = await find(transaction, data, lock=True)
    if data.title is not None:
        changed = update(chats).where(chats.c.number == chat.number).values(title=data.title)
        await transaction.run(changed)
    if data.user_ids is not None or data.usernames is not None:
        who = await people.find_all(transaction, data.user_ids, data.usernames)
        await transaction.run(delete(members).where(members.c.chat == chat.number))
        await _let_in(transaction, chat, who)
    row = await find_for(transaction, chat.id, None)
    there = await who_is_in(transaction, [row])
    _noted(transaction, row, there[row.number])
    return f"Chat `{row.title}` is changed.", {"chat": shape(row, there[row.number])}


async def remove(data: ChatNamed, transaction: Transaction, _: Engine) -> Outcome:
    chat = await find(transaction, data, lock=True)
    await delete_all_of(transaction, chat)
    transaction.chat = None
    return "The chat is deleted.", {"chat": {"chat_id": chat.id, "number": chat.number}}


async def delete_all_of(transaction: Transaction, chat: AnyRow) -> None:
    await channel_words.forget(transaction, chat.number)
    await transaction.run(delete(chats).where(chats.c.number == chat.number))
    await answers.forget_chats(transaction, [chat.number])


async def list_all(data: ChatList, transaction: Transaction, _: Engine) -> Outcome:
    user = await people.find_if_named(transaction, data)
    return await _list(data, transaction, user)


async def list_of_user(data: ChatList, transaction: Transaction, _: Engine) -> Outcome:
    return await _list(data, transaction, await people.find(transaction, data))


async def _list(data: ChatList, transaction: Transaction, user: AnyRow | None) -> Outcome:
    statement = _known_to(user)
    if data.after is not None:
        last = await find_for(transaction, data.after, user)
        statement = statement.where(chats.c.number > last.number)
    rows = await transaction.all(page(statement, chats.c.number, data.limit))
    who = await who_is_in(transaction, rows[: data.limit])
    listed = paged("chats", rows, data.limit, lambda row: shape(row, who[row.number]))
    return f"{len(listed['chats'])} chats.", listed


async def load(data: ChatLoad, transaction: Transaction, _: Engine) -> Outcome:
    chat = await find(transaction, data)
    said = await _said(data, transaction, chat)
    who = await who_is_in(transaction, [chat])
    loaded = {**shape(chat, who[chat.number]), "messages": said["messages"][::-1]}
    more = {"more": True} if "more" in said else {}
    return f"Chat `{chat.title}`.", {"chat": {**loaded, **more}}


async def _said(data: ChatLoad, transaction: Transaction, chat: AnyRow) -> dict[str, Any]:
    """The last first."""
    statement = with_names().where(messages.c.chat == chat.number)
    if data.before is not None:
        its = select(messages.c.number).where(messages.c.chat == chat.number)
        first = await transaction.first(its.where(refers(messages, data.before)))
        if first is None:
            raise NotFound(f"There is no message `{data.before}` in this chat.")
        statement = statement.where(messages.c.number < first.number)
    newest = messages.c.number.desc()
    rows = await transaction.all(statement.order_by(newest).limit(data.limit + 1))
    return paged("messages", rows, data.limit, lambda row: shape_of_message(row, chat.id))


def with_names() -> Select[Any]:
    return (
        select(
            messages,
            users.c.id.label("user_id"),
            users.c.username,
            llms.c.name.label("llm_name"),
            providers.c.name.label("provider_name"),
        )
        .outerjoin(users, users.c.number == messages.c.user)
        .outerjoin(llms, llms.c.number == messages.c.llm)
        .outerjoin(providers, providers.c.number == llms.c.provider)
    )


def shape_of_message(row: AnyRow, chat_id: str) -> dict[str, Any]:
    told = {
        "message_id": row.id,
        "number": row.number,
        "chat_id": chat_id,
        "role": row.role,
        "content": row.content,
        "created_at": iso(row.created),
    }
    if row.role == "user":
        return {**told, "user_id": row.user_id, "username": row.username}
    return {**told, "provider_name": row.provider_name, "llm_name": row.llm_name}


INSTRUCTIONS = {
    "CHAT_CREATE": Entry(ChatCreate, create),
    "CHAT_UPDATE": Entry(ChatUpdate, change),
    "CHAT_DELETE": Entry(ChatNamed, remove),
    "CHAT_LOAD": reads(ChatLoad, load),
    "CHAT_LIST": reads(ChatList, list_all),
    "CHAT_LIST_BY_USER": reads(ChatList, list_of_user),
}
