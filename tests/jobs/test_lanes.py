"""A provider's places: never more in use than there are, never fewer than could be."""

from __future__ import annotations

import asyncio
import contextlib

from waifu_llm.jobs.job import Job
from waifu_llm.jobs.lanes import Lane
from waifu_llm.jobs.store import StoredJob


def job(client: str = "a") -> Job:
    return Job(StoredJob("id", 0.0, b""), client, 0, [])


async def given_up(entering: asyncio.Task[None]) -> None:
    entering.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await entering


async def test_a_place_is_not_lost_with_who_gives_up_at_the_moment_that_it_is_given() -> None:
    started: list[Job] = []
    lane = Lane(1, lambda job, _: started.append(job))
    lane.add(job())
    entering = asyncio.create_task(lane.enter(job()))
    await asyncio.sleep(0)
    lane.leave()  # the place is given, and not taken yet
    await given_up(entering)
    lane.add(job())
    assert len(started) == 2


async def test_who_gives_up_before_is_passed_over() -> None:
    started: list[Job] = []
    lane = Lane(1, lambda job, _: started.append(job))
    lane.add(job())
    entering = asyncio.create_task(lane.enter(job()))
    await asyncio.sleep(0)
    await given_up(entering)
    other = job()
    lane.add(other)
    assert len(started) == 1
    lane.leave()
    assert started[1:] == [other]


async def test_a_place_is_not_lost_with_who_gave_up_a_moment_before() -> None:
    started: list[Job] = []
    lane = Lane(1, lambda job, _: started.append(job))
    lane.add(job())
    entering = asyncio.create_task(lane.enter(job()))
    await asyncio.sleep(0)
    entering.cancel()
    lane.leave()
    await given_up(entering)
    lane.add(job())
    assert len(started) == 2


async def test_who_has_begun_goes_first() -> None:
    started: list[Job] = []
    lane = Lane(1, lambda job, _: started.append(job))
    lane.add(job())
    lane.add(job())
    entering = asyncio.create_task(lane.enter(job()))
    await asyncio.sleep(0)
    lane.leave()
    await entering
    assert len(started) == 1
    lane.leave()
    assert len(started) == 2


async def test_once_closed_nobody_starts() -> None:
    started: list[Job] = []
    lane = Lane(2, lambda job, _: started.append(job))
    lane.add(job())
    lane.close()
    lane.add(job())
    lane.leave()
    assert len(started) == 1
    assert len(lane.waiting) == 1
