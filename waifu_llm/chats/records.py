"""What users had done, for those who want it recorded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import delete, select, update

from waifu_llm.chats import users as people
from waifu_llm.chats.entry import Entry, reads
from waifu_llm.chats.fields import Limit, NamesUser, Reference, iso
from waifu_llm.chats.tables import new_id, records, users
from waifu_llm.chats.transaction import AnyRow, Outcome, Transaction, page, paged, refers
from waifu_llm.engine import Engine
from waifu_llm.errors import NotFound
from waifu_llm.secrecy import without_secrets

_encode = msgspec.json.Encoder().encode


class RecordsList(NamesUser, kw_only=True):
    """Those of one user; see Page."""

    limit: Limit = 10_000
    after: Reference | None = None


async def record(transaction: Transaction, type: str, data: Mapping[str, Any], status: str) -> None:
    """For each user that the instruction named and that is recorded."""
    wanted = [number for number, is_recorded in transaction.named.items() if is_recorded]
    if not wanted:
        return
    told = _encode(without_secrets(data)).decode()
    common = {"type": type, "data": told, "status": status, "created": time.time()}
    still_there = select(users.c.number).where(users.c.number.in_(wanted), users.c.recording)
    numbers = [row.number for row in await transaction.all(still_there)]
    rows = [{"id": new_id(), "user": number, **common} for number in numbers]
    await transaction.insert_all(records, rows)


def shape(row: AnyRow) -> dict[str, Any]:
    return {
        "record_id": row.id,
        "number": row.number,
        "type": row.type,
        "data": msgspec.json.decode(row.data),
        "status": row.status,
        "created_at": iso(row.created),
    }


# Handlers


async def enable(data: NamesUser, transaction: Transaction, _: Engine) -> Outcome:
    return await _switch(data, transaction, on=True)


async def disable(data: NamesUser, transaction: Transaction, _: Engine) -> Outcome:
    return await _switch(data, transaction, on=False)


async def _switch(data: NamesUser, transaction: Transaction, *, on: bool) -> Outcome:
    user = await people.find(transaction, data, lock=True)
    await transaction.run(update(users).where(users.c.number == user.number).values(recording=on))
    transaction.user = user.number
    said = "are recorded from now on" if on else "are not recorded any more"
    told = {**people.shape(user), "recording": on}
    return f"Instructions that name `{user.username}` {said}.", {"user": told}


async def list_all(data: RecordsList, transaction: Transaction, _: Engine) -> Outcome:
    user = await people.find(transaction, data)
    statement = select(records).where(records.c.user == user.number)
    if data.after is not None:
        last = await transaction.first(statement.where(refers(records, data.after)))
        if last is None:
            raise NotFound(f"There is no record `{data.after}` of this user.")
        statement = statement.where(records.c.number > last.number)
    rows = await transaction.all(page(statement, records.c.number, data.limit))
    listed = paged("records", rows, data.limit, shape)
    return f"{len(listed['records'])} records.", listed


async def remove_all(data: NamesUser, transaction: Transaction, _: Engine) -> Outcome:
    user = await people.find(transaction, data)
    await transaction.run(delete(records).where(records.c.user == user.number))
    transaction.user = user.number
    told = {"user_id": user.id, "number": user.number, "username": user.username}
    return f"The records of `{user.username}` are deleted.", {"user": told}


INSTRUCTIONS = {
    "USER_INSTRUCTION_RECORDING_ENABLE": Entry(NamesUser, enable),
    "USER_INSTRUCTION_RECORDING_DISABLE": Entry(NamesUser, disable),
    "USER_INSTRUCTION_RECORDING_LIST": reads(RecordsList, list_all),
    "USER_INSTRUCTION_RECORDS_LIST": reads(RecordsList, list_all),
    # That one is not recorded: nothing would be left to delete it with.
    "USER_INSTRUCTION_RECORDS_DELETE": Entry(NamesUser, remove_all, is_recorded=False),
}
