"""One transaction, as the handler of an instruction sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Executable, Row, Select, Table
from sqlalchemy import insert as insert_into
from sqlalchemy.ext.asyncio import AsyncConnection

from waifu_llm.chats.fields import Reference
from waifu_llm.chats.tables import new_id

Outcome = tuple[str, dict[str, Any] | None]
"""A sentence, and the data of the answer."""
AnyRow = Row[Any]
_DIGITS = 18


class Transaction:
    """What is to be read and written, and what has to be known of that afterwards."""

    def __init__(self, connection: AsyncConnection, kept_key: str | None = None) -> None:
        self._connection = connection
        self.kept_key = kept_key
        """The name of the key that came with the instruction, and is in the key store now."""
        self.named: dict[int, bool] = {}
        """Users that the instruction named, and whether such are recorded."""
        self.user: int | None = None
        self.chat: int | None = None
        """Of whom the answer tells."""
        self.told_of: set[int] = set()
        """Of which further users."""
        self.afterwards: list[Callable[[], Awaitable[object]]] = []
        """To be done once all of it is there for good."""

    async def first(self, statement: Executable) -> AnyRow | None:
        return (await self._connection.execute(statement)).first()

    async def all(self, statement: Executable) -> Sequence[AnyRow]:
        return (await self._connection.execute(statement)).all()

    async def run(self, statement: Executable) -> None:
        await self._connection.execute(statement)

    async def insert(self, table: Table, **values: Any) -> AnyRow:
        """A new row, with an id of its own."""
        statement = insert_into(table).values(id=new_id(), **values).returning(table)
        row: AnyRow = (await self._connection.execute(statement)).one()
        return row

    async def insert_all(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            await self._connection.execute(insert_into(table), rows)


def number_of(reference: Reference) -> int | None:
    """The number that is meant, where it is one."""
    text = str(reference)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None


def refers(table: Table, reference: Reference) -> ColumnElement[bool]:
    """Whether a row is meant."""
    number = number_of(reference)
    return table.c.id == str(reference) if number is None else table.c.number == number


def parts(values: Sequence[int], size: int = 1000) -> Iterator[Sequence[int]]:
    """No statement takes as many values as there may be."""
    return (values[at : at + size] for at in range(0, len(values), size))


def page(statement: Select[Any], number: ColumnElement[int], limit: int) -> Select[Any]:
    """One row more than is wanted, to tell whether there are more."""
    return statement.order_by(number).limit(limit + 1)


def paged(
    name: str, rows: Sequence[AnyRow], limit: int, shape: Callable[[AnyRow], Any]
) -> dict[str, Any]:
    """The data of a list; `more` is there where it does not end here."""
    more = {"more": True} if len(rows) > limit else {}
    return {name: [shape(row) for row in rows[:limit]], **more}
