"""Jobs in the store: an accepted one outlives the module."""

from __future__ import annotations

from typing import cast

from sqlalchemy import delete, func, insert, select, update

from waifu_llm.chats.database import Database
from waifu_llm.chats.fields import storable
from waifu_llm.chats.tables import jobs
from waifu_llm.chats.transaction import AnyRow, Transaction
from waifu_llm.jobs.store import ENDED, State, StoredJob


class SqlJobStore:
    """See `waifu_llm.jobs.store.JobStore`. What was given to it is there for good on return."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, job: StoredJob) -> None:
        values = {name: getattr(job, name) for name in job.__struct_fields__}
        values |= {name: storable(values[name]) for name in ("client_id", "text", "message")}

        async def work(transaction: Transaction) -> None:
            known = await transaction.first(select(jobs.c.id).where(jobs.c.id == job.id))
            if known is None:  # a commit whose confirmation was lost is tried again
                await transaction.run(insert(jobs).values(values))

        await self._database.write(lambda connection: work(Transaction(connection)))

    async def started(self, id: str, attempts: int) -> None:
        await self._change(id, state="running", attempts=attempts)

    async def ended(self, id: str, state: State, text: str, message: str, when: float) -> None:
        said = {"text": storable(text), "message": storable(message)}
        await self._change(id, state=state, ended=when, **said)

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

    async def forget_before(self, when: float) -> int:
        """What ended before then."""
        old = jobs.c.state.in_(ENDED), jobs.c.ended < when

        async def work(transaction: Transaction) -> int:
            row = await transaction.first(select(func.count()).select_from(jobs).where(*old))
            await transaction.run(delete(jobs).where(*old))
            return cast(int, row[0]) if row else 0

        return await self._database.write(lambda connection: work(Transaction(connection)))

    async def _change(self, id: str, **values: object) -> None:
        statement = update(jobs).where(jobs.c.id == id).values(values)
        await self._database.write(lambda connection: Transaction(connection).run(statement))


def _job(row: AnyRow) -> StoredJob:
    return StoredJob(**{name: getattr(row, name) for name in StoredJob.__struct_fields__})
