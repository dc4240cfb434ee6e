"""A store in a file: SQLite, with one writer and many readers.

    store.db        the store; -wal and -shm beside it belong to it
    store.db.lock   held by who may write; never deleted

Exactly one process writes, by one connection: several that write and check-point are what SQLite
has had trouble with. What reads, such as the command line, needs no lock.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import filelock
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from waifu_llm import system
from waifu_llm.chats import migrating, sqlite_driver
from waifu_llm.chats.database import Trouble
from waifu_llm.errors import Busy

_BUSY_SECONDS = 5.0
_SCRUB_SECONDS = 0.1
_READERS = 4
_LOCK_SECONDS = 3.0
_LOOK_SECONDS = 0.05


def _busy_after(seconds: float) -> str:
    return f"busy_timeout = {seconds * 1000:.0f}"


_PRAGMAS = [
    _busy_after(_BUSY_SECONDS),
    "foreign_keys = ON",
    "synchronous = FULL",  # what was acknowledged outlives the power too
    "secure_delete = ON",  # what is deleted is overwritten
]
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_FULL = (
    *(sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH),
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY),
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB),
)


class SQLite:
    """One file. With `writes` off it is only looked at."""

    doubts_commits = False
    writes_at_once = 1
    reads_at_once = _READERS

    def __init__(self, file: Path, *, writes: bool = True) -> None:
        self.name = str(file.resolve())
        self._file = file
        self._writes = writes
        # Per thread, it would be let go by another than took it, and so never.
        self._lock = filelock.FileLock(f"{file}.lock", mode=0o600, thread_local=False)
        self.reader = self.writer = _engine(file, "BEGIN", ["query_only = ON"], _READERS)
        if writes:
            self.writer = _engine(file, "BEGIN IMMEDIATE", ["journal_mode = WAL"], 1)

    async def open(self) -> None:
        if not self._writes:
            await self._see_that_it_is_known()
            return
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._take_lock()
        self._make_private()
        await self._migrate()

    async def close(self) -> None:
        await self.reader.dispose()
        await self.writer.dispose()
        self._lock.release()

    def trouble(self, error: Exception) -> Trouble | None:
        cause = error.orig if isinstance(error, DBAPIError) else error
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the rest tells more than is needed
        if code in _BUSY:
            return "lost"
        return "full" if code in _FULL else None

    async def before_writing(self) -> None:
        """The lock of a file is not lost while this process lives."""

    async def scrub(self) -> bool:
        """The log still has the pages as they were. It cannot be emptied while somebody reads; and
        nobody can write while that is waited for."""
        await self._outside_transactions(f"PRAGMA {_busy_after(_SCRUB_SECONDS)}")
        try:
            ((is_busy, *_),) = await self._outside_transactions("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            await self._outside_transactions(f"PRAGMA {_busy_after(_BUSY_SECONDS)}")
        return not is_busy

    async def _take_lock(self) -> None:
        """A module that is about to end is waited for a little.

        Raises:
            Busy: When another one keeps it.
        """
        until = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                self._lock.acquire(blocking=False)
                return
            except filelock.Timeout:
                if time.monotonic() > until:
                    raise Busy(
                        f"Another program works with the store {self._file}, and it has one "
                        "writer. Stop that one, or name another file as `store`."
                    ) from None
            await asyncio.sleep(_LOOK_SECONDS)

    def _make_private(self) -> None:
        """What SQLite puts beside it is as open as it is itself."""
        os.close(os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600))
        system.close_to_others(self._file)

    async def _migrate(self) -> None:
        async with self.reader.connect() as connection:
            version = await migrating.version_of(connection)
        migrating.refuse_newer(version)
        if version == migrating.newest():
            return
        if version is not None:
            await self._copy(version)
        # A table that is made anew is dropped on the way, and would take along what refers to it.
        await self._outside_transactions("PRAGMA foreign_keys = OFF")
        try:
            async with self.writer.begin() as writing:
                await writing.run_sync(migrating.upgrade)
                await _see_that_all_refers(writing)
        finally:
            await self._outside_transactions("PRAGMA foreign_keys = ON")

    async def _copy(self, version: str) -> None:
        """As it was before, beside it."""
        day = datetime.now(UTC).strftime("%Y-%m-%d")
        copy = self._file.with_name(f"{self._file.name}.{version}.{day}")
        draft = copy.with_name(f"{copy.name}.new")
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        system.close_to_others(draft)
        await self._outside_transactions("VACUUM INTO ?", str(draft))
        system.replace(draft, copy)

    async def _outside_transactions(self, statement: str, *values: str) -> Sequence[Any]:
        """By the driver itself: what goes through SQLAlchemy is in one."""
        async with self.writer.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            rows: Sequence[Any] = (await driver.run(statement, values, many=False)).rows
            return rows

    async def _see_that_it_is_known(self) -> None:
        version = None
        if self._file.is_file():
            async with self.reader.connect() as connection:
                version = await migrating.version_of(connection)
        migrating.refuse_unknown(version, str(self._file))


async def _see_that_all_refers(connection: AsyncConnection) -> None:
    """
    Raises:
        WrongStore: When a row refers to none, and so the migration is not to be kept.
    """
    broken = (await connection.execute(text("PRAGMA foreign_key_check"))).first()
    if broken:
        raise migrating.WrongStore(
            f"The store was not brought to what this waifu-llm knows: a row of `{broken[0]}` would "
            f"refer to one of `{broken[2]}` that is not there. It is left as it was."
        )


def _engine(file: Path, begin: str, pragmas: list[str], connections: int) -> AsyncEngine:
    """Transactions begin as is said here: the driver by itself begins none."""
    engine = create_async_engine(
        "sqlite+aiosqlite:///unused",  # the pool of a file, and not that of memory
        async_creator=partial(sqlite_driver.connect, str(file), _BUSY_SECONDS),
        pool_size=connections,
        max_overflow=0,
        pool_reset_on_return=None,  # each transaction is ended by who began it
        hide_parameters=True,  # they are what people wrote to each other
    )

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        for pragma in (*_PRAGMAS, *pragmas):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def start(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine
