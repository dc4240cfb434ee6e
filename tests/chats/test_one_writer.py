"""One program writes to a store; its file is private, and keeps what was acknowledged."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from database_stage import POSIX, SQLITE, chat, titles
from sqlalchemy import text

from waifu_llm.chats.opening import open_database
from waifu_llm.chats.tables import chats
from waifu_llm.errors import Busy, Unavailable, WaifuError

OPEN = """
import asyncio, sys
from pathlib import Path
from waifu_llm.chats.database import StoreAway
from waifu_llm.chats.opening import open_database
from waifu_llm.errors import Busy

async def main():
    try:
        database = await open_database(sys.argv[1], Path(sys.argv[1]).parent)
    except Busy as busy:
        print("busy", flush=True)
    else:
        print("open", flush=True)
        sys.stdin.readline()
        await database.close()

asyncio.run(main())
"""


def open_elsewhere(store: str) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", OPEN, store], text=True, **pipes)


@SQLITE
def test_of_eight_that_start_at_once_one_has_the_file(store) -> None:
    processes = [open_elsewhere(store) for _ in range(8)]
    said = [process.stdout.readline().strip() for process in processes]
    assert sorted(said) == ["busy"] * 7 + ["open"]
    for process in processes:
        process.communicate("\n")


@SQLITE
async def test_a_second_program_is_told_who_keeps_it_out(store, tmp_path) -> None:
    first = await open_database(store, tmp_path)
    with pytest.raises(Busy, match="one writer"):
        await open_database(store, tmp_path)
    reader = await open_database(store, tmp_path, writes=False)
    await first.write(lambda connection: connection.execute(chat("seen")))
    assert await titles(reader) == ["seen"]
    with pytest.raises(Exception, match="readonly"):
        await reader.read(lambda connection: connection.execute(chat("not written")))
    await reader.close()
    await first.close()
    await (await open_database(store, tmp_path)).close()


async def test_who_only_looks_makes_nothing(store, tmp_path) -> None:
    with pytest.raises(Unavailable, match="There is no store"):
        await open_database(store, tmp_path, writes=False)
    if "://" not in store:
        assert not Path(store).parent.exists()
        return
    import asyncpg

    connection = await asyncpg.connect(store)
    there = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert await connection.fetchval(there) == 0
    await connection.close()


async def test_who_only_looks_cannot_write(database, store, tmp_path) -> None:
    reader = await open_database(store, tmp_path, writes=False)
    for begin in (reader.read, reader.write):
        with pytest.raises(WaifuError, match=r"read-?only"):
            await begin(lambda connection: connection.execute(chat("not written")))
    await reader.close()
    assert await titles(database) == []


@SQLITE
async def test_what_a_reader_kept_from_being_removed_is_removed_later(database, store) -> None:
    await database.write(lambda connection: connection.execute(chat("a canary sings")))
    reader = sqlite3.connect(store, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM chats").fetchall()
    await database.write(lambda connection: connection.execute(chats.delete()))
    begun = time.monotonic()
    await database.scrub()
    assert time.monotonic() - begun < 2.0  # all who write would wait as long
    assert sings(store)
    reader.execute("ROLLBACK")
    reader.close()
    await database.scrub_again()
    assert not sings(store)


def sings(store: str) -> bool:
    return any(b"canary" in each.read_bytes() for each in Path(store).parent.glob("store.db*"))


@SQLITE
async def test_another_program_that_holds_the_file_is_waited_for(database, store) -> None:
    rude = sqlite3.connect(store, isolation_level=None)
    rude.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(database.write(lambda connection: connection.execute(chat("x"))))
    await asyncio.sleep(0)
    await titles(database)
    assert not writing.done()
    rude.execute("ROLLBACK")
    rude.close()
    await writing
    assert await titles(database) == ["x"]


@SQLITE
async def test_it_keeps_what_it_acknowledged_and_overwrites_what_was_deleted(database) -> None:
    async def work(connection) -> dict[str, object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        return {name: await connection.scalar(text(f"PRAGMA {name}")) for name in names}

    settings = await database.write(work)
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "secure_delete": 1,
    }


@SQLITE
@POSIX
async def test_the_files_are_their_owners_alone(database, store) -> None:
    await database.write(lambda connection: connection.execute(chat("x")))
    files = list(Path(store).parent.glob("store.db*"))
    assert {"store.db", "store.db-wal", "store.db-shm"} <= {each.name for each in files}
    assert {each.stat().st_mode & 0o777 for each in files} == {0o600}
    assert Path(store).parent.stat().st_mode & 0o777 == 0o700
