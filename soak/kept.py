"""What a store holds, read past the module: of one client, and as a whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Select, func, or_, select

from soak.history import Violation
from soak.ledger import Chat, Ledger, Provider, Said, User
from waifu_llm.chats.database import Database
from waifu_llm.chats.opening import open_database
from waifu_llm.chats.tables import (
    chats,
    inbox,
    llms,
    members,
    messages,
    metadata,
    providers,
    records,
    users,
)
from waifu_llm.chats.transaction import AnyRow, Transaction
from waifu_llm.keys import KeyFile

EVERYBODY = "everybody"
"""The chat that all clients are in: of it, each one's own part is looked at."""


class Kept:
    """The part of one client, whose things all begin with its name."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.ids: dict[str, str] = {}
        """See Owner."""


class Store:
    """Opened for each look, so that a module that was killed leaves its files to the next alone."""

    def __init__(self, store: str, home: Path) -> None:
        self._store = store
        self._home = home

    async def of(self, name: str) -> Kept:
        database = await open_database(self._store, self._home, writes=False)
        try:
            return await _of(database, name, self._keys())
        finally:
            await database.close()

    def _keys(self) -> dict[str, str]:
        return {each.name: each.key for each in KeyFile(self._home / "keys.json").read()}

    async def check(self, due: Sequence[Ledger], secrets: Sequence[str]) -> None:
        """As a whole: nothing is there that belongs to nobody, and no secret is.

        Raises:
            Violation: When something is.
        """
        database = await open_database(self._store, self._home, writes=False)
        try:
            await _check_counts(database, due)
            await _check_secrets(database, secrets)
            if "://" not in self._store:
                check_file(self._store)
            await self._check_keys(database)
        finally:
            await database.close()

    async def waiting(self) -> int:
        """How many instructions lie in the inbox."""
        database = await open_database(self._store, self._home, writes=False)
        try:
            return len(await _all(database, select(inbox.c.key)))
        finally:
            await database.close()

    async def _check_keys(self, database: Database) -> None:
        named = {row.key_name for row in await _all(database, select(providers.c.key_name))}
        if (there := set(self._keys())) != (due := named - {None}):
            raise Violation(f"keys that no provider names: {there - due}; lost: {due - there}")


def check_file(store: str) -> None:
    with closing(sqlite3.connect(store)) as connection:
        for check in ("integrity_check", "foreign_key_check"):
            found = connection.execute(f"PRAGMA {check}").fetchall()
            if found not in ([], [("ok",)]):
                raise Violation(f"{check}: {found}")


async def _of(database: Database, name: str, keys: dict[str, str]) -> Kept:
    kept = Kept()
    await _put_users(database, name, kept)
    await _put_chats(database, name, kept)
    await _put_providers(database, name, kept, keys)
    return kept


async def _put_users(database: Database, name: str, kept: Kept) -> None:
    mine = users.c.username.startswith(name, autoescape=True)
    told = select(records, users.c.username).join(users).where(mine).order_by(records.c.number)
    for row in await _all(database, select(users).where(mine)):
        kept.ids[row.username] = row.id
        kept.ledger.users[row.username] = User(row.display_name, row.profile, row.recording)
    for row in await _all(database, told):
        kept.ledger.users[row.username].records.append(f"{row.type} {row.status}")


async def _put_chats(database: Database, name: str, kept: Kept) -> None:
    mine = or_(chats.c.title.startswith(name, autoescape=True), chats.c.title == EVERYBODY)
    titles = {row.number: row for row in await _all(database, select(chats).where(mine))}
    for row in titles.values():
        kept.ids[row.title] = row.id
        kept.ledger.chats[row.title] = Chat(set())
    inside = select(members.c.chat, users.c.username).join(users)
    for row in await _all(database, inside.where(members.c.chat.in_(titles))):
        if not _is_anothers(titles[row.chat], row, name):
            kept.ledger.chats[titles[row.chat].title].members.add(row.username)
    for row in await _all(database, _talk().where(messages.c.chat.in_(titles))):
        if not _is_anothers(titles[row.chat], row, name):
            said = Said(row.username, row.content, row.answer)
            kept.ledger.chats[titles[row.chat].title].said.append(said)
            kept.ids[row.content], kept.ids[f"{row.content} answered"] = row.id, row.answer_id


def _talk() -> Select[Any]:
    """Each question with each answer to it: one that has two is there twice."""
    answers = messages.alias()
    told = (answers.c.content.label("answer"), answers.c.id.label("answer_id"), users.c.username)
    joined = select(messages, *told).outerjoin(users, users.c.number == messages.c.user)
    with_answers = joined.outerjoin(answers, answers.c.question == messages.c.number)
    return with_answers.where(messages.c.role == "user").order_by(messages.c.number)


def _is_anothers(chat: AnyRow, row: AnyRow, name: str) -> bool:
    return chat.title == EVERYBODY and not row.username.startswith(name)


async def _put_providers(database: Database, name: str, kept: Kept, keys: dict[str, str]) -> None:
    mine = providers.c.name.startswith(name, autoescape=True)
    for row in await _all(database, select(providers).where(mine)):
        key = keys.get(row.key_name, "lost") if row.key_name else None
        kept.ledger.providers[row.name] = Provider(row.api_endpoint or row.provider, key)
    joined = select(llms.c.name.label("llm"), providers.c.name).join(providers).where(mine)
    for row in await _all(database, joined):
        kept.ledger.providers[row.name].llms.add(row.llm)


async def _check_counts(database: Database, due: Sequence[Ledger]) -> None:
    """The shared chat, its provider and that one's LLMs are nobody's."""
    said = [len(chat.said) for each in due for chat in each.chats.values()]
    own_chats = {title for each in due for title in each.chats}
    counted = {
        "users": sum(len(each.users) for each in due),
        "chats": len(own_chats),
        "messages": 2 * sum(said),
        "records": sum(len(user.records) for each in due for user in each.users.values()),
        "providers": 1 + sum(len(each.providers) for each in due),
        "inbox": 0,
    }
    for name, count in counted.items():
        found = await _all(database, select(func.count()).select_from(metadata.tables[name]))
        if found[0][0] != count:
            raise Violation(f"{name}: {found[0][0]} are there, where {count} were due")


async def _check_secrets(database: Database, secrets: Sequence[str]) -> None:
    for table in metadata.tables.values():
        for row in await _all(database, select(table)):
            told = repr(tuple(row))
            if found := [secret for secret in secrets if secret in told]:
                raise Violation(f"a key lies in {table.name}: {found[0]}")


async def _all(database: Database, statement: Select[Any]) -> Sequence[AnyRow]:
    return await database.read(lambda connection: Transaction(connection).all(statement))
