"""A transaction is whole or not at all, whatever happens to the database."""

from __future__ import annotations

import asyncio

import pytest
from database_stage import POSTGRES, chat, titles
from sqlalchemy import text

from waifu_llm.chats.database import StoreAway, StoreRefuses
from waifu_llm.chats.opening import open_database
from waifu_llm.chats.tables import chats


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
