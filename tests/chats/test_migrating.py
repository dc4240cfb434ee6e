"""A store is brought to the newest schema once, and loses nothing on the way."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from database_stage import POSTGRES, SQLITE, chat, titles
from sqlalchemy import func, insert, select, text

from waifu_llm.chats import migrating
from waifu_llm.chats.opening import open_database
from waifu_llm.chats.tables import members, messages, metadata, new_id
from waifu_llm.errors import Unavailable

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


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """The migrations of a program that has one more."""
    folder = tmp_path / "newer"
    shutil.copytree(migrating.FOLDER, folder)
    (folder / "versions" / "v0004_second.py").write_text(SECOND)
    return folder


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


async def test_a_newer_schema_is_refused_in_words(store, tmp_path, newer, monkeypatch) -> None:
    monkeypatch.setattr(migrating, "FOLDER", newer)
    await (await open_database(store, tmp_path)).close()
    monkeypatch.undo()
    with pytest.raises(Unavailable, match=r"newer waifu-llm: its schema is 0004, .* up to 0003"):
        await open_database(store, tmp_path)


async def test_an_older_schema_is_brought_to_the_newer_one(
    store, tmp_path, newer, monkeypatch
) -> None:
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
    store, tmp_path, newer, monkeypatch
) -> None:
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
    store, tmp_path, newer, monkeypatch
) -> None:
    """SQLite changes a column by making the table anew: what refers to its rows has to stay."""
    old = await open_database(store, tmp_path)
    await old.write(lambda connection: connection.execute(chat("kept")))
    said = {"role": "user", "content": "kept too", "created": 0.0}
    told = insert(messages).values(id=new_id(), chat=1, **said)
    await old.write(lambda connection: connection.execute(told))
    await old.close()
    (newer / "versions" / "v0004_second.py").write_text(CHATS_ANEW)
    monkeypatch.setattr(migrating, "FOLDER", newer)
    database = await open_database(store, tmp_path)
    count = select(func.count()).select_from(messages)
    assert await database.read(lambda connection: connection.scalar(count)) == 1
    on = text("PRAGMA foreign_keys")
    assert await database.write(lambda connection: connection.scalar(on)) == 1
    await database.close()


@SQLITE
async def test_a_migration_that_leaves_rows_without_theirs_is_undone(
    store, tmp_path, newer, monkeypatch
) -> None:
    await (await open_database(store, tmp_path)).close()
    (newer / "versions" / "v0004_second.py").write_text(SECOND + ORPHAN)
    monkeypatch.setattr(migrating, "FOLDER", newer)
    with pytest.raises(Unavailable, match="a row of `members` would refer to one of `users`"):
        await open_database(store, tmp_path)
    monkeypatch.undo()
    database = await open_database(store, tmp_path)
    assert await database.read(lambda connection: connection.scalar(select(members.c.chat))) is None
    await database.close()


async def test_a_migration_that_fails_changes_nothing(store, tmp_path, newer, monkeypatch) -> None:
    await (await open_database(store, tmp_path)).close()
    broken = SECOND + "    raise RuntimeError('half-way')\n"
    (newer / "versions" / "v0004_second.py").write_text(broken)
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


async def test_who_only_looks_brings_nothing_to_a_newer_schema(
    store, tmp_path, newer, monkeypatch
) -> None:
    await (await open_database(store, tmp_path)).close()
    monkeypatch.setattr(migrating, "FOLDER", newer)
    with pytest.raises(Unavailable, match=r"made by an older waifu-llm\. `waifu-llm serve` brings"):
        await open_database(store, tmp_path, writes=False)
    monkeypatch.undo()
    await (await open_database(store, tmp_path, writes=False)).close()
