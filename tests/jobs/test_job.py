"""What listeners of one job are told of its place."""

from __future__ import annotations

import asyncio

from job_stage import Ears

from waifu_llm.jobs.job import Job
from waifu_llm.jobs.store import StoredJob


def waiting(place: int) -> tuple[Job, Ears]:
    job, ears = Job(StoredJob("id", 0.0, b""), "a", 0, []), Ears()
    job.listen(ears, place)
    return job, ears


def test_each_quarter_of_the_way_is_told() -> None:
    job, ears = waiting(100)
    for place in range(99, 0, -1):
        job.moves(place)
    assert ears.heard == [100, 75, 56, 42, 31, 23, 17, 12, 9, 6, 4, 3, 2, 1]


def test_also_that_others_came_before_it() -> None:
    job, ears = waiting(4)
    for place in (4, 4, 5, 5, 6, 7, 8):
        job.moves(place)
    assert ears.heard == [4, 5, 7]


def test_who_comes_later_is_told_where_it_is_now() -> None:
    job, _ = waiting(100)
    late = Ears()
    job.listen(late, 90)
    job.moves(80)
    assert late.heard == [90]
    job.moves(60)
    assert late.heard == [90, 60]


async def test_one_that_has_begun_is_not_pending_any_more() -> None:
    job, ears = waiting(4)
    job.starts(asyncio.create_task(asyncio.sleep(0)))
    job.moves(1)
    assert ears.heard == [4, ""]


async def test_what_was_heard_already_is_not_told_again() -> None:
    job, _ = waiting(1)
    job.starts(asyncio.create_task(asyncio.sleep(0)))
    job.say("one ")
    job.say("two")
    some, all_of_it = Ears(), Ears()
    job.listen(some, heard=4)
    job.listen(all_of_it, heard=7)
    job.say(" three")
    assert (some.heard, all_of_it.heard) == (["two", " three"], [" three"])
