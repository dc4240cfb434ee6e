"""The Python client's jobs, against a real module."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from support import LIMIT, Module

from waifu_llm.client import Client, JobFailed, connect
from waifu_llm.errors import Forbidden, InvalidMessage, InvalidProvider, Unavailable


def asks(model: str = "echo", provider: str = "echo", **settings: Any) -> dict[str, Any]:
    messages = [{"insert": "history"}, {"role": "user", "content": "{query}"}]
    stream = {"provider": provider, "settings": {"model": model, **settings}, "messages": messages}
    return {"streams": [stream]}


ENDLESS = asks("count", delay_ms=3_600_000)


@pytest.fixture
async def llm(module: Module) -> AsyncIterator[Client]:
    async with connect(module.url) as client, asyncio.timeout(LIMIT):
        yield client


async def test_what_a_job_says_comes_as_it_is_said(llm: Client) -> None:
    job = await llm.jobs.add("hello there", asks(), history=[{"role": "user", "content": "hi"}])
    assert [piece async for piece in job] == ["hello", " there"]
    assert await job.text() == ""


async def test_jobs_side_by_side_are_not_mixed_up(llm: Client) -> None:
    jobs = [await llm.jobs.add(f"job {number}", asks()) for number in range(20)]
    texts = await asyncio.gather(*(job.text() for job in jobs))
    assert texts == [f"job {number}" for number in range(20)]


async def test_another_listens_while_it_runs_and_after(llm: Client, module: Module) -> None:
    job = await llm.jobs.add("1 2 3", asks(delay_ms=20))
    async with connect(module.url) as other:
        assert await other.jobs.listen(job.id).text() == "1 2 3"
        assert await other.jobs.listen(job.id).text() == "1 2 3"
    assert await job.text() == "1 2 3"


async def test_who_leaves_the_loop_goes_on_where_it_stopped(llm: Client) -> None:
    job = await llm.jobs.add("1 2 3", asks(delay_ms=20))
    async for piece in job:
        assert piece == "1"
        break
    with pytest.raises(InvalidMessage, match="already"):
        llm.jobs.listen(job.id)
    assert await job.text() == " 2 3"


async def test_a_job_that_fails_raises(llm: Client) -> None:
    job = await llm.jobs.add("Q", asks("nobody"))
    with pytest.raises(JobFailed, match="no model"):
        await job.text()
    with pytest.raises(JobFailed, match="no job"):
        await llm.jobs.listen("nobody").text()


async def test_what_is_not_accepted_raises_at_once(llm: Client) -> None:
    with pytest.raises(InvalidProvider):
        await llm.jobs.add("Q", asks(provider="nobody"))
    with pytest.raises(InvalidMessage, match="no assistant"):
        await llm.jobs.add("Q", "nobody")


async def test_a_job_is_cancelled_by_who_added_it(llm: Client, module: Module) -> None:
    job = await llm.jobs.add("Q", ENDLESS)
    assert await anext(aiter(job)) == "1"
    async with connect(module.url) as other:
        with pytest.raises(Forbidden):
            await other.jobs.cancel(job.id)
    await job.cancel()
    with pytest.raises(JobFailed, match="Cancelled"):
        await job.text()


async def test_its_place_is_known_while_it_waits(llm: Client) -> None:
    running = await llm.jobs.add("Q", asks("count", "narrow", delay_ms=3_600_000))
    waiting = await llm.jobs.add("Q", asks(provider="narrow"), priority=-3)
    hearing = asyncio.create_task(waiting.text())
    while waiting.place is None:
        await asyncio.sleep(0)
    assert waiting.place == 1
    await running.cancel()
    assert await hearing == "Q"
    assert waiting.place is None


async def test_a_lost_connection_ends_the_listening_and_not_the_job(
    start_module: Callable[..., Module],
) -> None:
    module = start_module("--stalled-seconds", "1")
    async with connect(module.url) as llm, asyncio.timeout(LIMIT):
        job = await llm.jobs.add("1 2 3 4 5", asks(delay_ms=50))
        assert await anext(aiter(job)) == "1"
        assert llm.connection._websocket
        llm.connection._websocket.transport.abort()
        with pytest.raises(Unavailable, match="lost"):
            await job.text()
        assert await llm.jobs.listen(job.id).text() == "1 2 3 4 5"


async def test_the_kept_assistants_are_listed(start_module, new_home: Path) -> None:
    folder = new_home / "assistants"
    folder.mkdir()
    for name in ("guide", "actor"):
        (folder / f"{name}.json").write_text("{}", "utf-8")
    async with connect(start_module(WAIFU_LLM_HOME=str(new_home)).url) as llm:
        assert await llm.jobs.assistants() == ["actor", "guide"]


async def test_a_listen_that_is_refused_can_be_tried_again(llm: Client) -> None:
    job = llm.jobs.listen("x" * 10_000)
    with pytest.raises(InvalidMessage, match="job_id"):
        await job.text()
    assert not llm.connection.is_awaited(job.id)
