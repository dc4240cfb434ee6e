"""One module works with a PostgreSQL store, also over restarts of the server."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from database_stage import chat, titles
from support import LIMIT

from waifu_llm.chats import ownership
from waifu_llm.chats.database import Database, StoreAway
from waifu_llm.chats.opening import open_database
from waifu_llm.errors import Busy

HOLDERS = f"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = {ownership._LOCK}"
ASKED = "datname = current_database() AND query LIKE 'SELECT pg_try_advisory_lock%'"
_numbers = itertools.count()


@pytest.fixture
def store(postgres) -> str:
    return str(postgres.database(f"owned{next(_numbers)}"))


@pytest.fixture
async def owner(store: str, tmp_path: Path) -> AsyncIterator[Database]:
    database = await open_database(store, tmp_path, owns=True)
    yield database
    await database.close()


@asynccontextmanager
async def asyncpg_to(store: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that knows nothing of us."""
    connection = await asyncpg.connect(store)
    try:
        yield connection
    finally:
        await connection.close()


async def write(database: Database, title: str) -> None:
    async with asyncio.timeout(LIMIT):
        await database.write(lambda connection: connection.execute(chat(title)))


async def test_a_second_module_is_refused_and_told_why(owner, store, tmp_path) -> None:
    with pytest.raises(Busy, match=r"`owned\d+` at 127.0.0.1, and only one can"):
        await open_database(store, tmp_path, owns=True)
    await owner.close()
    await (await open_database(store, tmp_path, owns=True)).close()


async def test_one_that_is_about_to_end_is_waited_for(store, tmp_path) -> None:
    first = await open_database(store, tmp_path, owns=True)
    second = asyncio.create_task(open_database(store, tmp_path, owns=True))
    async with asyncpg_to(store) as watcher:
        while await watcher.fetchval("SELECT count(*) FROM pg_stat_activity WHERE " + ASKED) < 2:
            await asyncio.sleep(0)
    await first.close()
    await (await second).close()


async def test_the_command_line_needs_no_lock(owner, store, tmp_path) -> None:
    await write(owner, "of the module")
    for writes in (False, True):
        other = await open_database(store, tmp_path, writes=writes)
        assert await titles(other) == ["of the module"]
        await other.close()


async def test_after_a_restart_of_the_server_it_is_taken_again(
    owner, store, tmp_path, postgres
) -> None:
    await asyncio.to_thread(postgres.restart)
    await write(owner, "after it")
    with pytest.raises(Busy):
        await open_database(store, tmp_path, owns=True)
    assert await titles(owner) == ["after it"]


async def test_also_where_nothing_is_written(owner, store, postgres, monkeypatch) -> None:
    monkeypatch.setattr(ownership, "_ASKS_EVERY_SECONDS", 0.01)
    await owner.close()
    idle = await open_database(store, Path(), owns=True)
    await asyncio.to_thread(postgres.restart)
    async with asyncio.timeout(LIMIT), asyncpg_to(store) as watcher:
        while not await watcher.fetchval(HOLDERS):
            await asyncio.sleep(0)
    await idle.close()


async def test_while_another_module_has_it_nothing_is_written(owner, store, caplog) -> None:
    """The other one waits for the lock before it is lost, and so is the first to get it."""
    async with asyncpg_to(store) as other, asyncpg_to(store) as killer:
        waits = asyncio.create_task(
            other.execute(f"SELECT pg_advisory_lock({ownership._LOCK})", timeout=LIMIT)
        )
        while not await killer.fetchval(HOLDERS + " AND NOT granted"):
            await asyncio.sleep(0)
        lost = await killer.fetchval(HOLDERS + " AND granted")
        await killer.execute(f"SELECT pg_terminate_backend({lost}, 10000)")
        await waits
        with pytest.raises(StoreAway, match="Another module works with the store now"):
            await write(owner, "must not be")
        assert await titles(owner) == []
        await other.execute(f"SELECT pg_advisory_unlock({ownership._LOCK})")
        await write(owner, "ours again")
    assert await titles(owner) == ["ours again"]
    assert "Another module works" in caplog.text


async def test_the_server_is_asked_to_notice_a_dead_host(owner, store) -> None:
    """What is set for the session shows in nobody else's: so it is looked at from within."""
    session = owner._kind._ownership._driver
    settings = {name: await session.fetchval(f"SHOW {name}") for name in ownership.SERVER_SETTINGS}
    assert settings == ownership.SERVER_SETTINGS
    idle = await session.fetchval("SELECT current_setting('idle_session_timeout', true)")
    assert idle in ("0", None)  # there since version 14


async def test_those_who_write_at_once_ask_once(owner, monkeypatch) -> None:
    """Where the server says nothing, each would wait as long for an answer of its own."""
    ownership_of_it = owner._kind._ownership
    ownership_of_it._sure_until = 0.0
    asked = 0
    get = ownership_of_it._get

    async def counted() -> bool:
        nonlocal asked
        asked += 1
        return await get()

    monkeypatch.setattr(ownership_of_it, "_get", counted)
    await asyncio.gather(*(write(owner, f"{number}") for number in range(4)))
    assert asked == 1


async def test_without_an_answer_for_long_it_is_asked_first(owner, store, monkeypatch) -> None:
    """As after a long sleep of this machine: the server may have given the lock to another."""
    owner._kind._ownership._sure_until = 0.0
    async with asyncpg_to(store) as watcher:
        before = await watcher.fetchval("SELECT now()")
        await write(owner, "asked first")
        asked = "SELECT max(query_start) FROM pg_stat_activity WHERE " + ASKED
        assert await watcher.fetchval(asked) > before
