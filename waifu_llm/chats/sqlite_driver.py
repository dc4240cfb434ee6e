"""aiosqlite with one trip to its thread for each statement, where it makes four.

The trips are most of what a small statement costs. This is what SQLAlchemy asks of a connection.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import aiosqlite


class _Done(NamedTuple):
    """All there is to know of a statement, once the thread is done with it."""

    description: Any = None
    rowcount: int = -1
    lastrowid: int | None = None
    rows: Sequence[Any] = ()


def _in_thread(
    connection: sqlite3.Connection, sql: str, values: Iterable[Any], *, many: bool
) -> _Done:
    cursor = connection.cursor()
    try:
        (cursor.executemany if many else cursor.execute)(sql, values)  # type: ignore[arg-type]
        rows = cursor.fetchall() if cursor.description else ()
        return _Done(cursor.description, cursor.rowcount, cursor.lastrowid, rows)
    finally:
        cursor.close()


class Cursor:
    """Has all rows when it has executed."""

    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._done = _Done()

    async def __aenter__(self) -> Cursor:
        return self

    @property
    def description(self) -> Any:
        return self._done.description

    @property
    def rowcount(self) -> int:
        return self._done.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._done.lastrowid

    async def execute(self, sql: str, values: Iterable[Any] = ()) -> None:
        self._done = await self._connection.run(sql, values, many=False)

    async def executemany(self, sql: str, values: Iterable[Any]) -> None:
        self._done = await self._connection.run(sql, values, many=True)

    async def fetchall(self) -> Sequence[Any]:
        return self._done.rows

    async def close(self) -> None: ...


class Connection(aiosqlite.Connection):
    """A thread with one connection of the standard library's."""

    def cursor(self) -> Cursor:  # type: ignore[override]
        return Cursor(self)

    async def run(self, sql: str, values: Iterable[Any], *, many: bool) -> _Done:
        done: _Done = await self._execute(  # type: ignore[no-untyped-call]
            _in_thread, self._conn, sql, values, many=many
        )
        return done


async def connect(file: str, busy_seconds: float) -> Connection:
    """Transactions begin where somebody says so: the driver by itself begins none."""

    def open_it() -> sqlite3.Connection:
        return sqlite3.connect(
            file, timeout=busy_seconds, isolation_level=None, check_same_thread=False
        )

    connection = Connection(open_it, iter_chunk_size=64)
    connection._thread.daemon = True  # nobody waits for it at the end of a process
    await connection
    return connection
