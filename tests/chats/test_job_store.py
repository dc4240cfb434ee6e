"""Jobs in the store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from support import LIMIT, until

from waifu_llm.chats.job_store import SqlJobStore
from waifu_llm.chats.opening import open_database
from waifu_llm.jobs.job import Job
from waifu_llm.jobs.keeping import Keeper
from waifu_llm.jobs.store import StoredJob


def job(id: str, **more) -> StoredJob:
    return StoredJob(id=id, added=float(len(id)), body=b'{"query":"\x00"}', **more)


@pytest.fixture
def jobs(database) -> SqlJobStore:
    return SqlJobStore(database)


async def test_a_job_is_found_as_it_was_added(jobs) -> None:
    added = job("one")
    await jobs.add(added)
    await jobs.add(added)
    assert await jobs.find("one") == added
    assert await jobs.find("two") is None


async def test_what_is_unfinished_comes_in_the_order_that_it_was_added(jobs) -> None:
    for id in ("333", "1", "22"):
        await jobs.add(job(id))
    await jobs.started("22", 2)
    await jobs.ended("1", "done", "text", "", 5.0)
    assert [(each.id, each.state, each.attempts) for each in await jobs.unfinished()] == [
        ("22", "running", 2),
        ("333", "waiting", 1),
    ]


async def test_how_it_ended_is_kept_until_it_is_forgotten(jobs) -> None:
    for id in ("a", "bb", "ccc"):
        await jobs.add(job(id))
    await jobs.ended("a", "done", "nul \0 and all", "", 1.0)
    await jobs.ended("bb", "failed", "", "It failed.", 2.0)
    found = await jobs.find("a")
    ended = {"state": "done", "text": "nul  and all", "ended": 1.0, "body": b""}
    assert found == msgspec.structs.replace(job("a"), **ended)
    assert (await jobs.find("bb")).message == "It failed."
    await jobs.forget_before(2.0)
    assert await jobs.find("a") is None
    assert await jobs.find("bb") is not None
    await jobs.forget_before(9.0)
    assert await jobs.find("bb") is None
    assert [each.id for each in await jobs.unfinished()] == ["ccc"]


async def test_jobs_outlive_the_module(store: str, tmp_path: Path) -> None:
    for life in range(2):
        database = await open_database(store, tmp_path)
        jobs = SqlJobStore(database)
        if life == 0:
            await jobs.add(job("one"))
        assert [each.id for each in await jobs.unfinished()] == ["one"]
        await database.close()


@pytest.mark.parametrize("store", ["postgres"], indirect=True)
async def test_an_end_is_kept_however_long_the_database_is_away(
    database, jobs, postgres, monkeypatch, caplog
) -> None:
    monkeypatch.setattr("waifu_llm.chats.database.LOST_SECONDS", 0.0)
    await jobs.add(job("one"))
    postgres.stop()
    try:
        ending = asyncio.create_task(
            Keeper(jobs, outlives=True).ended(Job(job("one"), "a", 0, []), "It failed.")
        )
        await until(lambda: "cannot be kept" in caplog.text)
        assert not ending.done()
    finally:
        await asyncio.to_thread(postgres.start)
    async with asyncio.timeout(LIMIT):
        await ending
    assert (await jobs.find("one")).message == "It failed."
    assert await jobs.unfinished() == []
