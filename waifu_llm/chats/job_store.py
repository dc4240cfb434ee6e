"""Jobs in the store: an accepted one outlives the module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from waifu_llm.chats.database import Database
from waifu_llm.chats.fields import storable
from waifu_llm.chats.gathering import Gathering
from waifu_llm.chats.tables import jobs
from waifu_llm.chats.transaction import AnyRow, Transaction
from waifu_llm.jobs.store import ENDED, State, StoredJob

Values = Mapping[str, Any]
_ID = "of_job"
_BY_ID = update(jobs).where(jobs.c.id == bindparam(_ID))
_STARTED = _BY_ID.values(state="running", attempts=bindparam("attempts"))
_ENDED = _BY_ID.values(
    {
        "body": b"",
        **{name: bindparam(name) for name in ("state", "text", "message", "ended")},
    }
)


class SqlJobStore:
    """See `waifu_llm.jobs.store.JobStore`. What was given to it is there for good on return."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._gathering: Gathering[tuple[Any, Values]] = Gathering(self._write)

    async def add(self, job: StoredJob) -> None:
        values = {name: getattr(job, name) for name in job.__struct_fields__}
        values |= {name: storable(values[name]) for name in ("text", "message")}
        await self._gathering.put((None, values))

    async def started(self, id: str, attempts: int) -> None:
        await self._gathering.put((_STARTED, {_ID: id, "attempts": attempts}))

    async def ended(self, id: str, state: State, text: str, message: str, when: float) -> None:
        said = {"text": storable(text), "message": storable(message)}
        await self._gathering.put((_ENDED, {_ID: id, "state": state, "ended": when, **said}))

    async def _write(self, changes: Sequence[tuple[Any, Values]]) -> None:
        """The same statements together. Those of one job are in this order."""
        added = [values for statement, values in changes if statement is None]

        async def work(connection: AsyncConnection) -> None:
            await _add(connection, added)
            for each in (_STARTED, _ENDED):
                if rows := [dict(values) for statement, values in changes if statement is each]:
                    await connection.execute(each, rows)

        await self._database.write(work)

    async def unfinished(self) -> list[StoredJob]:
        """In the order that they were added."""
        statement = select(jobs).where(jobs.c.state.not_in(ENDED)).order_by(jobs.c.added)
        read = self._database.read
        rows = await read(lambda connection: Transaction(connection).all(statement))
        return [_job(row) for row in rows]

    async def find(self, id: str) -> StoredJob | None:
        statement = select(jobs).where(jobs.c.id == id)
        read = self._database.read
        row = await read(lambda connection: Transaction(connection).first(statement))
        return _job(row) if row else None

    async def forget_before(self, when: float) -> None:
        old = delete(jobs).where(jobs.c.state.in_(ENDED), jobs.c.ended < when)
        await self._database.write(lambda connection: Transaction(connection).run(old))


async def _add(connection: AsyncConnection, added: Sequence[Values]) -> None:
    """A commit whose confirmation was lost is tried again: then they are there already."""
    if not added:
        return
    ids = [values["id"] for values in added]
    found = await connection.execute(select(jobs.c.id).where(jobs.c.id.in_(ids)))
    known = set(found.scalars())
    new = list({each["id"]: dict(each) for each in added if each["id"] not in known}.values())
    if new:
        await connection.execute(insert(jobs), new)


def _job(row: AnyRow) -> StoredJob:
    return StoredJob(**{name: getattr(row, name) for name in StoredJob.__struct_fields__})
