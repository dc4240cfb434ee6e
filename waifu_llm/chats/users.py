"""Users: created, changed, listed, and really deleted."""

from __future__ import annotations

import re
import time
from typing import Any

from sqlalchemy import and_, delete, exists, func, or_, select, update

from waifu_llm.chats import answers, inbox
from waifu_llm.chats.entry import Entry, reads
from waifu_llm.chats.fields import (
    Name,
    NamesUser,
    Page,
    Profile,
    Reference,
    iso,
)
from waifu_llm.chats.tables import chats, members, messages, users
from waifu_llm.chats.transaction import (
    AnyRow,
    Outcome,
    Transaction,
    number_of,
    page,
    paged,
    parts,
    refers,
)
from waifu_llm.engine import Engine
from waifu_llm.errors import InvalidMessage, NotFound

_USERNAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{2,29}")


class UserCreate(NamesUser, kw_only=True):
    """`username` is required; `user_id` is what the module gives."""

    username: Name
    display_name: Name | None = None
    profile: Profile | None = None


class UserUpdate(NamesUser, kw_only=True):
    """With a `user_id`, `username` is the new one; without, it says who is meant."""

    new_username: Name | None = None
    display_name: Name | None = None
    profile: Profile | None = None


# Finding


async def find(transaction: Transaction, named: NamesUser, *, lock: bool = False) -> AnyRow:
    """The user that is named.

    Raises:
        InvalidMessage: When nobody is named, or there is no such user.
    """
    if named.user_id is None and named.username is None:
        raise InvalidMessage("Missing `user_id`, or `username`, in `data`.")
    wanted = []
    if named.user_id is not None:
        wanted.append(refers(users, named.user_id))
    if named.username is not None:
        wanted.append(users.c.username == named.username.casefold())
    statement = select(users).where(and_(*wanted))
    found = await transaction.first(statement.with_for_update() if lock else statement)
    if found is None:
        raise _unknown(named.user_id if named.username is None else named.username)
    return _noted(transaction, found)


async def find_by_word(transaction: Transaction, word: str) -> AnyRow:
    """By whatever it is: id, number or name.

    Raises:
        InvalidMessage: When there is no such user.
    """
    either = or_(refers(users, word), users.c.username == word.casefold())
    found = await transaction.first(select(users).where(either))
    if found is None:
        raise _unknown(word)
    return found


async def find_if_named(transaction: Transaction, named: NamesUser) -> AnyRow | None:
    if named.user_id is None and named.username is None:
        return None
    return await find(transaction, named)


async def find_all(
    transaction: Transaction, ids: list[Reference] | None, names: list[str] | None
) -> list[AnyRow]:
    """Each user of two lists, once.

    Raises:
        InvalidMessage: With the first that there is not.
    """
    numbers = {each: number_of(each) for each in ids or ()}
    folded = {each: each.casefold() for each in names or ()}
    meant = or_(
        users.c.number.in_([number for number in numbers.values() if number is not None]),
        users.c.id.in_([str(each) for each, number in numbers.items() if number is None]),
        users.c.username.in_(folded.values()),
    )
    there = await transaction.all(select(users).where(meant).order_by(users.c.number))
    known = {each for row in there for each in (row.id, row.username, row.number)}
    for said, number in numbers.items():
        if (str(said) if number is None else number) not in known:
            raise _unknown(said)
    for name in folded:
        if folded[name] not in known:
            raise _unknown(name)
    return [_noted(transaction, row) for row in there]


def _noted(transaction: Transaction, user: AnyRow) -> AnyRow:
    transaction.named[user.number] = user.recording
    return user


def _unknown(said: Reference | None) -> InvalidMessage:
    return NotFound(f"There is no user `{said}`.")


def shape(user: AnyRow) -> dict[str, Any]:
    return {
        "user_id": user.id,
        "number": user.number,
        "username": user.username,
        "display_name": user.display_name,
        "profile": user.profile,
        "created_at": iso(user.created),
    }


# Handlers


async def create(data: UserCreate, transaction: Transaction, _: Engine) -> Outcome:
    username = await _free(transaction, data.username)
    user = await transaction.insert(
        users,
        username=username,
        display_name=data.display_name or data.username,
        profile=data.profile,
        recording=False,
        created=time.time(),
    )
    transaction.user = user.number
    return f"User `{username}` is created.", {"user": shape(user)}


async def change(data: UserUpdate, transaction: Transaction, _: Engine) -> Outcome:
    renames = data.user_id is not None and data.username is not None
    named = NamesUser(user_id=data.user_id) if renames else data
    user = await find(transaction, named, lock=True)
    wanted = data.new_username or (data.username if renames else None)
    values: dict[str, Any] = {}
    if wanted is not None and wanted.casefold() != user.username:
        values["username"] = await _free(transaction, wanted)
    for name in ("display_name", "profile"):
        if (value := getattr(data, name)) is not None:
            values[name] = value
    changed = await _changed(transaction, user, values)
    transaction.user = user.number
    return f"User `{changed.username}` is changed.", {"user": shape(changed)}


async def _changed(transaction: Transaction, user: AnyRow, values: dict[str, Any]) -> AnyRow:
    if values:
        await transaction.run(update(users).where(users.c.number == user.number).values(values))
    row = await transaction.first(select(users).where(users.c.number == user.number))
    assert row is not None
    return row


async def remove(data: NamesUser, transaction: Transaction, _: Engine) -> Outcome:
    """With all that is the user's: records, messages and what was answered to them, and the chats
    that nobody else is in."""
    user = await find(transaction, data, lock=True)
    await delete_all_of(transaction, user)
    transaction.named.pop(user.number)
    return "The user is deleted.", {"user": {"user_id": user.id, "number": user.number}}


async def delete_all_of(transaction: Transaction, user: AnyRow) -> None:
    lonely = await _chats_of_one(transaction, user.number)
    for part in parts(lonely):
        await transaction.run(delete(chats).where(chats.c.number.in_(part)))
        await answers.forget_chats(transaction, part)
    await transaction.run(delete(messages).where(messages.c.user == user.number))
    await transaction.run(delete(users).where(users.c.number == user.number))
    await answers.forget_user(transaction, user.number)
    await inbox.forget_user(transaction, user)


async def _chats_of_one(transaction: Transaction, user: int) -> list[int]:
    """Locked, so that nobody joins one meanwhile."""
    others = members.alias()
    mine = select(members.c.chat).where(members.c.user == user)
    somebody_else = exists().where(others.c.chat == chats.c.number, others.c.user != user)
    found = select(chats.c.number).where(chats.c.number.in_(mine)).with_for_update()
    await transaction.all(found)
    return [row.number for row in await transaction.all(found.where(~somebody_else))]


async def show(data: NamesUser, transaction: Transaction, _: Engine) -> Outcome:
    user = await find(transaction, data)
    return f"User `{user.username}`.", {"user": shape(user)}


async def list_all(data: Page, transaction: Transaction, _: Engine) -> Outcome:
    statement = select(users)
    if data.after is not None:
        last = await find(transaction, NamesUser(user_id=data.after))
        statement = statement.where(users.c.number > last.number)
    rows = await transaction.all(page(statement, users.c.number, data.limit))
    count = min(len(rows), data.limit)
    return f"{count} users.", paged("users", rows, data.limit, shape)


async def _free(transaction: Transaction, username: str) -> str:
    """It folded, when nobody has it.

    Raises:
        InvalidMessage: When it is none, or taken.
    """
    if not _USERNAME.fullmatch(username):
        raise InvalidMessage(
            f"`{username}` is no username: 3 to 30 letters, digits and underscores, a letter first."
        )
    folded = username.casefold()
    taken = select(func.count()).select_from(users).where(users.c.username == folded)
    if (found := await transaction.first(taken)) and found[0]:
        raise InvalidMessage(f"There is a user `{folded}` already.")
    return folded


INSTRUCTIONS = {
    "USER_CREATE": Entry(UserCreate, create),
    "USER_UPDATE": Entry(UserUpdate, change),
    "USER_DELETE": Entry(NamesUser, remove),
    "USER_GET": reads(NamesUser, show),
    "USER_LIST": reads(Page, list_all),
}
