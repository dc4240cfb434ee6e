"""The store itself: opened once, migrated once, private, and unharmed by what others do."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, insert, select, text

from waifu_llm.chats import address, migrating
from waifu_llm.chats.database import StoreAway, StoreRefuses
from waifu_llm.chats.opening import open_database
from waifu_llm.chats.tables import chats, members, messages, metadata, new_id
from waifu_llm.config import ConfigError
from waifu_llm.errors import Busy, Unavailable, WaifuError

POSIX = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
SQLITE = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
POSTGRES = pytest.mark.parametrize("store", ["postgres"], indirect=True)
SECOND = """
revision, down_revision = "0004", "0003"

def upgrade():
    from alembic import op
    import sqlalchemy
    op.create_table("second", sqlalchemy.Column("number", sqlalchemy.Integer))
"""
CHATS_ANEW = """
revision, down_revision = "0004", "0003"

def upgrade():
    from alembic import op
    import sqlalchemy
    with op.batch_alter_table("chats", recreate="always") as table:
        table.alter_column("title", type_=sqlalchemy.Text())
"""
ORPHAN = """
    op.execute("INSERT INTO chats VALUES (1, 'x', 'x', 0.0)")
    op.execute("INSERT INTO members VALUES (1, 99)")
"""


def chat(title: str) -> object:
    return insert(chats).values(id=new_id(), title=title, created=0.0)


async def titles(database) -> list[str]:
    async def work(connection) -> list[str]:
        rows = await connection.execute(select(chats.c.title).order_by(chats.c.number))
        return [row.title for row in rows]

    return list(await database.read(work))


@pytest.fixture
def second_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program with one migration more."""
    folder = tmp_path / "newer"
    shutil.copytree(migrating.FOLDER, folder)
    (folder / "versions" / "v0004_second.py").write_text(SECOND)
    monkeypatch.setattr(migrating, "FOLDER", folder)
    return folder


# The schema


async def test_the_migrations_lead_to_the_tables(database) -> None:
    def differences(connection) -> list[object]:
        options = {"version_table": migrating.VERSION_TABLE}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    async def work(connection) -> list[object]:
        return await connection.run_sync(differences)

    assert await database.read(work) == []


async def test_what_is_there_stays_when_it_is_opened_again(store, tmp_path) -> None:
    for life in range(2):
        database = await open_database(store, tmp_path)
        await database.write(lambda connection, life=life: connection.execute(chat(f"{life}")))
        assert await titles(database) == [f"{each}" for each in range(life + 1)]
        await database.close()


async def test_a_newer_schema_is_refused_in_words(
    store, tmp_path, second_version, monkeypatch
) -> None:
    await (await open_database(store, tmp_path)).close()
    monkeypatch.undo()
    with pytest.raises(Unavailable, match=r"newer waifu-llm: its schema is 0004, .* up to 0003"):
        await open_database(store, tmp_path)


async def test_an_older_schema_is_brought_to_the_newer_one(
    store, tmp_path, second_version, monkeypatch
) -> None:
    newer = migrating.FOLDER
    monkeypatch.undo()
    old = await open_database(store, tmp_path)
    await old.write(lambda connection: connection.execute(chat("kept")))
    await old.close()
    monkeypatch.setattr(migrating, "FOLDER", newer)
    database = await open_database(store, tmp_path)
    assert await titles(database) == ["kept"]
    await database.read(lambda connection: connection.execute(text("SELECT * FROM second")))
    await database.close()


@SQLITE
async def test_a_copy_is_kept_before_a_file_is_migrated(
    store, tmp_path, second_version, monkeypatch
) -> None:
    newer = migrating.FOLDER
    monkeypatch.undo()
    old = await open_database(store, tmp_path)
    await old.write(lambda connection: connection.execute(chat("kept")))
    await old.close()
    assert copies(store) == []
    monkeypatch.setattr(migrating, "FOLDER", newer)
    await (await open_database(store, tmp_path)).close()
    (copy,) = copies(store)
    with sqlite3.connect(copy) as connection:
        assert connection.execute("SELECT title FROM chats").fetchall() == [("kept",)]
        assert connection.execute("SELECT version_num FROM waifu_llm_schema").fetchone() == (
            "0003",
        )
    connection.close()
    if os.name == "posix":
        assert copy.stat().st_mode & 0o777 == 0o600
    await (await open_database(store, tmp_path)).close()
    assert copies(store) == [copy]


def copies(store: str) -> list[Path]:
    return list(Path(store).parent.glob("store.db.0*"))


@SQLITE
async def test_a_table_that_is_made_anew_takes_nothing_along(
    store, tmp_path, second_version, monkeypatch
) -> None:
    """SQLite changes a column by making the table anew: what refers to its rows has to stay."""
    newer = migrating.FOLDER
    monkeypatch.undo()
    old = await open_database(store, tmp_path)
    await old.write(lambda connection: connection.execute(chat("kept")))
    said = {"role": "user", "content": "kept too", "created": 0.0}
    told = insert(messages).values(id=new_id(), chat=1, **said)
    await old.write(lambda connection: connection.execute(told))
    await old.close()
    (second_version / "versions" / "v0004_second.py").write_text(CHATS_ANEW)
    monkeypatch.setattr(migrating, "FOLDER", newer)
    database = await open_database(store, tmp_path)
    count = select(func.count()).select_from(messages)
    assert await database.read(lambda connection: connection.scalar(count)) == 1
    on = text("PRAGMA foreign_keys")
    assert await database.write(lambda connection: connection.scalar(on)) == 1
    await database.close()


@SQLITE
async def test_a_migration_that_leaves_rows_without_theirs_is_undone(
    store, tmp_path, second_version, monkeypatch
) -> None:
    newer = migrating.FOLDER
    monkeypatch.undo()
    await (await open_database(store, tmp_path)).close()
    (second_version / "versions" / "v0004_second.py").write_text(SECOND + ORPHAN)
    monkeypatch.setattr(migrating, "FOLDER", newer)
    with pytest.raises(Unavailable, match="a row of `members` would refer to one of `users`"):
        await open_database(store, tmp_path)
    monkeypatch.undo()
    database = await open_database(store, tmp_path)
    assert await database.read(lambda connection: connection.scalar(select(members.c.chat))) is None
    await database.close()


async def test_a_migration_that_fails_changes_nothing(
    store, tmp_path, second_version, monkeypatch
) -> None:
    newer = migrating.FOLDER
    monkeypatch.undo()
    await (await open_database(store, tmp_path)).close()
    broken = SECOND + "    raise RuntimeError('half-way')\n"
    (second_version / "versions" / "v0004_second.py").write_text(broken)
    monkeypatch.setattr(migrating, "FOLDER", newer)
    with pytest.raises(RuntimeError, match="half-way"):
        await open_database(store, tmp_path)
    monkeypatch.undo()
    database = await open_database(store, tmp_path)
    with pytest.raises(Exception, match="second"):
        await database.read(lambda connection: connection.execute(text("SELECT * FROM second")))
    await database.close()


@POSTGRES
async def test_eight_that_start_at_once_migrate_once(store, tmp_path) -> None:
    for _ in range(3):
        opened = await asyncio.gather(*(open_database(store, tmp_path) for _ in range(8)))
        for each in opened:
            assert await titles(each) == []
            await each.close()
        database = await open_database(store, tmp_path)
        await database.write(
            lambda connection: connection.execute(text("DROP SCHEMA public CASCADE"))
        )
        await database.write(lambda connection: connection.execute(text("CREATE SCHEMA public")))
        await database.close()


@POSTGRES
async def test_a_database_of_somebody_elses_is_left_alone(store, tmp_path, postgres) -> None:
    import asyncpg

    connection = await asyncpg.connect(store)
    await connection.execute("CREATE TABLE users (name text)")
    with pytest.raises(Unavailable, match="a table `users` that is not of waifu-llm"):
        await open_database(store, tmp_path)
    assert (
        await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname='public'") == 1
    )
    await connection.close()


# One writer


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


async def test_who_only_looks_brings_nothing_to_a_newer_schema(
    store, tmp_path, second_version, monkeypatch
) -> None:
    newer = migrating.FOLDER
    monkeypatch.undo()
    await (await open_database(store, tmp_path)).close()
    monkeypatch.setattr(migrating, "FOLDER", newer)
    with pytest.raises(Unavailable, match=r"made by an older waifu-llm\. `waifu-llm serve` brings"):
        await open_database(store, tmp_path, writes=False)
    monkeypatch.undo()
    await (await open_database(store, tmp_path, writes=False)).close()


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


# Transactions


async def test_a_transaction_that_fails_leaves_nothing(database) -> None:
    async def work(connection) -> None:
        await connection.execute(chat("half"))
        raise KeyError("on the way")

    with pytest.raises(KeyError):
        await database.write(work)
    assert await titles(database) == []


async def test_one_that_nobody_waits_for_comes_to_its_end(database) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def work(connection) -> None:
        await connection.execute(chat("one"))
        begun.set()
        await go_on.wait()
        await connection.execute(chat("two"))

    writing = asyncio.create_task(database.write(work))
    await begun.wait()
    writing.cancel()
    await asyncio.wait([writing])
    go_on.set()
    await database.write(lambda connection: connection.execute(chat("three")))
    assert sorted(await titles(database)) == ["one", "three", "two"]


async def test_once_it_is_closed_nothing_begins(store, tmp_path) -> None:
    database = await open_database(store, tmp_path)
    writing = asyncio.create_task(database.write(lambda connection: connection.execute(chat("x"))))
    await asyncio.sleep(0)
    await database.close()
    await writing
    for begin in (database.write, database.read):
        with pytest.raises(StoreAway):
            await begin(lambda connection: connection.execute(chat("too late")))
    again = await open_database(store, tmp_path)
    assert await titles(again) == ["x"]
    await again.close()


async def test_reading_keeps_nothing(database) -> None:
    if database.doubts_commits:  # PostgreSQL: the same connections write
        await database.read(lambda connection: connection.execute(chat("not kept")))
    assert await titles(database) == []


@POSTGRES
async def test_what_others_overtook_is_tried_again(database) -> None:
    both = asyncio.Barrier(2)
    tries = 0
    for title in ("a", "b"):
        await database.write(lambda connection, title=title: connection.execute(chat(title)))

    def renaming(first: str, second: str):
        async def work(connection) -> None:
            nonlocal tries
            tries += 1
            for number, title in enumerate((first, second)):
                wanted = chats.update().where(chats.c.title == title).values(created=1.0)
                await connection.execute(wanted)
                if number == 0 and tries <= 2:
                    await both.wait()

        return work

    await asyncio.gather(database.write(renaming("a", "b")), database.write(renaming("b", "a")))
    assert tries == 3


@POSTGRES
async def test_a_server_that_restarts_is_waited_for(database, postgres) -> None:
    await database.write(lambda connection: connection.execute(chat("before")))
    postgres.stop()
    writing = asyncio.create_task(database.write(lambda connection: connection.execute(chat("x"))))
    await asyncio.sleep(0)
    await asyncio.to_thread(postgres.start)
    await writing
    assert await titles(database) == ["before", "x"]


@POSTGRES
async def test_one_that_takes_too_long_is_ended_and_may_be_tried_later(database) -> None:
    async def work(connection) -> None:
        await connection.execute(text("SET LOCAL statement_timeout = '10ms'"))
        await connection.execute(text("SELECT pg_sleep(60)"))

    with pytest.raises(StoreAway, match="takes too long"):
        await database.write(work)


async def test_what_the_database_refuses_is_an_error_in_words(database, caplog) -> None:
    nonsense = text("SELECT * FROM nowhere WHERE title = :title").bindparams(title="canary")
    with pytest.raises(StoreRefuses, match=r"The database refuses: .*nowhere") as refused:
        await database.read(lambda connection: connection.execute(nonsense))
    assert "canary" not in f"{refused.value} {caplog.text}"


@POSTGRES
async def test_a_right_that_was_taken_away_may_come_back(store, tmp_path, postgres) -> None:
    database = await open_database(store, tmp_path)

    async def forbid(connection) -> None:
        await connection.execute(text("CREATE ROLE nobody_in_particular"))
        await connection.execute(text("SET ROLE nobody_in_particular"))
        await connection.execute(chat("x"))

    with pytest.raises(StoreAway, match="permission denied"):
        await database.write(forbid)
    await database.close()


# Where it is


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ("sqlite", "home/store.db"),
        ("sqlite://", "home/store.db"),
        ("/data/mine.db", "/data/mine.db"),
        ("sqlite:////data/mine.db", "/data/mine.db"),
    ],
)
@POSIX
def test_a_file_is_named_in_several_ways(setting, place, tmp_path) -> None:
    home = tmp_path / "home"
    assert address.read(setting, home) == tmp_path / place


def test_a_database_is_named_as_everywhere() -> None:
    url = address.read("postgresql://me:canary@box:5433/chats?sslmode=require", Path())
    assert (url.drivername, url.host, url.port, url.database) == (
        *("postgresql+asyncpg", "box", 5433),
        "chats",
    )
    assert url.query == {"ssl": "require"}
    assert address.read("postgres://box/chats", Path()).drivername == "postgresql+asyncpg"


@pytest.mark.parametrize(
    "setting", ["mysql://me:canary@box/x", "postgresql://me:canary@box", "://"]
)
def test_what_is_no_store_is_refused_and_not_repeated(setting) -> None:
    with pytest.raises(ConfigError) as refused:
        address.read(setting, Path())
    assert "canary" not in str(refused.value)


def test_the_password_is_known_as_a_secret() -> None:
    store = "postgresql://me:can%21ary@box/chats"
    assert address.secrets_of(store) == ["can!ary", "can%21ary"]
    assert address.secrets_of("sqlite") == []


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("waifu@127.0.0.1:{}/postgres?nonsense=1", "nonsense"),
        ("waifu@127.0.0.1:{}/nowhere", 'database "nowhere" does not exist'),
        ("nobody:canary@127.0.0.1:{}/postgres", 'role "nobody" does not exist'),
    ],
)
async def test_why_a_database_cannot_be_used_is_said(postgres, part, said, tmp_path) -> None:
    with pytest.raises(WaifuError, match=said) as refused:
        await open_database(f"postgresql://{part.format(postgres.port)}", tmp_path)
    assert "canary" not in str(refused.value)


@SQLITE
async def test_a_file_that_is_no_store_is_left_as_it_is(store, tmp_path) -> None:
    Path(store).parent.mkdir()
    Path(store).write_bytes(b"my diary" * 100)
    with pytest.raises(StoreAway, match="file is not a database"):
        await open_database(store, tmp_path)
    assert Path(store).read_bytes() == b"my diary" * 100
