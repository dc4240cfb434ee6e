"""The registry of providers: an address that is used exactly as given, or one of the module's own.

A key that comes with one is put into the module's key store, under a name of its own.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

from msgspec import Meta, Struct
from sqlalchemy import ColumnElement, delete, func, select, update

from waifu_llm.chats.aims import Aim, aim_of, named_key
from waifu_llm.chats.database import Database, StoreAway
from waifu_llm.chats.entry import Entry, reads
from waifu_llm.chats.fields import Endpoint, Name, Page, Reference, iso
from waifu_llm.chats.tables import ID_LENGTH, new_id, providers
from waifu_llm.chats.transaction import AnyRow, Outcome, Transaction, page, paged, refers
from waifu_llm.engine import Engine
from waifu_llm.errors import InvalidMessage, NotFound, WaifuError

KeyText = Annotated[str, Meta(max_length=8192)]


class ProviderAdd(Struct, kw_only=True):
    """`provider` is one of the module's own, or a profile; without any, `name` is tried as such.
    `key` names a key that is stored already."""

    name: Name
    api_endpoint: Endpoint | None = None
    provider: Name | None = None
    api_key: KeyText | None = None
    key: Name | None = None


class ProviderNamed(Struct, kw_only=True):
    """By id, number or name."""

    provider_id: Reference | None = None
    provider_name: Name | None = None


class ProviderUpdate(ProviderNamed, kw_only=True):
    """What is left out stays, the key too where the address stays at the same host."""

    name: Name | None = None
    api_endpoint: Endpoint | None = None
    provider: Name | None = None
    api_key: KeyText | None = None
    key: Name | None = None


# Finding


async def find(transaction: Transaction, named: Any, *, lock: bool = False) -> AnyRow:
    """
    Raises:
        InvalidMessage: When none is named, or there is none such.
    """
    said = named.provider_id if named.provider_id is not None else named.provider_name
    if said is None:
        raise InvalidMessage("Missing `provider_id`, or `provider_name`, in `data`.")
    statement = select(providers).where(is_meant(named))
    found = await transaction.first(statement.with_for_update() if lock else statement)
    if found is None:
        raise NotFound(f"There is no LLM provider `{said}`.")
    return found


def is_meant(named: Any) -> ColumnElement[bool]:
    if named.provider_id is not None:
        return refers(providers, named.provider_id)
    by_name: ColumnElement[bool] = providers.c.name == named.provider_name
    return by_name


def shape(row: AnyRow) -> dict[str, Any]:
    return {
        "provider_id": row.id,
        "number": row.number,
        "name": row.name,
        "api_endpoint": row.api_endpoint,
        "provider": row.provider,
        "has_key": row.key_name is not None,
        "created_at": iso(row.created),
    }


# Keys


@asynccontextmanager
async def key_kept(
    data: ProviderAdd | ProviderUpdate, id: str | None, database: Database, engine: Engine
) -> AsyncIterator[str | None]:
    """The name of its key in the key store; it is taken out where nothing came of all this. Where
    that is not certain it stays: what comes again under the same id keeps it under the same name,
    and what is left over goes at the next start."""
    if not data.api_key:
        yield None
        return
    _check_key(data.api_key)
    provider, origin = (await _aim_after(data, database, engine)).home(engine)
    name = _names_begin(database) + (_digest(id, ID_LENGTH) if id else new_id())
    await engine.stored.keep_key(provider, name, origin, data.api_key)
    try:
        yield name
    except StoreAway:
        raise
    except WaifuError:
        with suppress(StoreAway):
            await _drop_unnamed({name}, database, engine)
        raise


async def drop_left_over(database: Database, engine: Engine) -> None:
    """Keys of instructions that never came to their end. None may be under way."""
    engine.stored.look()
    names = {each.name for each in engine.stored.keys}
    ours = {name for name in names if name.startswith(_names_begin(database))}
    await _drop_unnamed(ours, database, engine)


async def _drop_unnamed(names: set[str], database: Database, engine: Engine) -> None:
    """Those that no provider names."""
    wanted = select(providers.c.key_name).where(providers.c.key_name.in_(names))
    rows = await database.read(lambda connection: Transaction(connection).all(wanted))
    for name in names - {row.key_name for row in rows}:
        await engine.stored.drop_key(name)


def _names_begin(database: Database) -> str:
    """The key store may hold keys of other stores, too."""
    return f"chats-{_digest(database.name, 8)}-"


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _check_key(key: str) -> None:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidMessage("`api_key` should be one line of ASCII letters, digits and signs.")


async def _aim_after(data: Any, database: Database, engine: Engine) -> Aim:
    """What it will stand for when this is done."""
    if isinstance(data, ProviderAdd):
        return aim_of(data, engine, data.name)
    if data.api_endpoint or data.provider:
        return aim_of(data, engine)
    row = await database.read(lambda connection: find(Transaction(connection), data))
    return Aim(row.api_endpoint, row.provider)


# Handlers


async def add(data: ProviderAdd, transaction: Transaction, engine: Engine) -> Outcome:
    await _see_that_it_is_free(transaction, data.name)
    aim = aim_of(data, engine, data.name)
    row = await transaction.insert(
        providers,
        name=data.name,
        api_endpoint=aim.api_endpoint,
        provider=aim.provider,
        key_name=transaction.kept_key or named_key(data, aim, engine),
        owns_key=transaction.kept_key is not None,
        created=time.time(),
    )
    return f"LLM provider `{row.name}` is added.", {"provider": shape(row)}


async def change(data: ProviderUpdate, transaction: Transaction, engine: Engine) -> Outcome:
    row = await find(transaction, data, lock=True)
    if data.name is not None and data.name != row.name:
        await _see_that_it_is_free(transaction, data.name)
    former = Aim(row.api_endpoint, row.provider)
    aim = aim_of(data, engine) if data.api_endpoint or data.provider else former
    values = {"name": data.name or row.name, "api_endpoint": aim.api_endpoint}
    values |= {"provider": aim.provider, **_key_after(row, data, transaction, aim, former, engine)}
    if row.owns_key and values["key_name"] != row.key_name:
        transaction.afterwards.append(lambda: engine.stored.drop_key(row.key_name))
    changed = update(providers).where(providers.c.number == row.number).values(values)
    new = await transaction.first(changed.returning(providers))
    assert new is not None
    forgotten = " Its key belongs to another address and is forgotten." if _lost(row, new) else ""
    return f"LLM provider `{new.name}` is changed.{forgotten}", {"provider": shape(new)}


def _key_after(
    row: AnyRow, data: Any, transaction: Transaction, aim: Aim, former: Aim, engine: Engine
) -> dict[str, Any]:
    """A key goes to no other host than it was given for."""
    if transaction.kept_key or data.key is not None:
        name = transaction.kept_key or named_key(data, aim, engine)
        return {"key_name": name, "owns_key": transaction.kept_key is not None}
    if aim.is_at_home_with(former, engine):
        return {"key_name": row.key_name, "owns_key": row.owns_key}
    return {"key_name": None, "owns_key": False}


def _lost(former: AnyRow, new: AnyRow) -> bool:
    return former.key_name is not None and new.key_name is None


async def remove(data: ProviderNamed, transaction: Transaction, engine: Engine) -> Outcome:
    """With its LLMs. What they answered stays."""
    row = await find(transaction, data, lock=True)
    await transaction.run(delete(providers).where(providers.c.number == row.number))
    if row.owns_key:
        transaction.afterwards.append(lambda: engine.stored.drop_key(row.key_name))
    return f"LLM provider `{row.name}` is deleted.", {"provider": shape(row)}


async def list_all(data: Page, transaction: Transaction, _: Engine) -> Outcome:
    statement = select(providers)
    if data.after is not None:
        last = await find(transaction, ProviderNamed(provider_id=data.after))
        statement = statement.where(providers.c.number > last.number)
    rows = await transaction.all(page(statement, providers.c.number, data.limit))
    listed = paged("providers", rows, data.limit, shape)
    return f"{len(listed['providers'])} LLM providers.", listed


async def _see_that_it_is_free(transaction: Transaction, name: str) -> None:
    taken = select(func.count()).select_from(providers).where(providers.c.name == name)
    if (found := await transaction.first(taken)) and found[0]:
        raise InvalidMessage(f"There is an LLM provider `{name}` already.")


INSTRUCTIONS = {
    "LLM_PROVIDER_ADD": Entry(ProviderAdd, add, keeps_key=key_kept),
    "LLM_PROVIDER_UPDATE": Entry(ProviderUpdate, change, keeps_key=key_kept),
    "LLM_PROVIDER_DELETE": Entry(ProviderNamed, remove),
    "LLM_PROVIDER_LIST": reads(Page, list_all),
}
