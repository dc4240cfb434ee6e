"""With a store a job is kept before it is accepted, and its end before it is told."""

from __future__ import annotations

import asyncio

import pytest
from fake_store import FakeStore
from job_stage import PLACES, NewStage
from support import until

from waifu_llm.errors import Unavailable


class TestKeeping:
    """What was accepted outlives the module."""

    async def test_a_job_is_kept_before_it_is_accepted(self, new_stage: NewStage) -> None:
        store = FakeStore()
        stage = await new_stage(store)
        store.open.clear()
        accepting = asyncio.create_task(stage.jobs.accept(stage.prepare()))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not accepting.done()
        assert not stage.turns
        assert stage.jobs.status() == {"waiting": 1, "running": 0}
        store.open.set()
        await accepting
        (row,) = (store.row(id) for id in store.rows)
        assert row.state == "waiting"

    async def test_who_leaves_meanwhile_does_not_take_it_back(self, new_stage: NewStage) -> None:
        store = FakeStore()
        stage = await new_stage(store)
        store.open.clear()
        accepting = asyncio.create_task(stage.jobs.accept(stage.prepare("Q")))
        await asyncio.sleep(0)
        accepting.cancel()
        store.open.set()
        assert (await stage.turn()).asked == "Q"

    async def test_what_cannot_be_kept_is_not_accepted(self, new_stage: NewStage) -> None:
        store = FakeStore()
        stage = await new_stage(store, max_jobs=1)
        store.broken = Unavailable("The database is away.")
        for _ in range(3):  # nor does it take up room
            with pytest.raises(Unavailable, match="away"):
                await stage.add()
        store.broken = None
        await stage.add()

    async def test_its_end_is_kept_before_it_is_told(self, new_stage: NewStage) -> None:
        store = FakeStore()
        stage = await new_stage(store)
        job, ears = await stage.add()
        turn = await stage.turn()
        store.open.clear()
        asked = store.asked
        turn.end("A")
        await until(lambda: store.asked > asked)
        late = stage.listen(job)
        assert (ears.heard, late.heard) == (["", "A"], ["", "A"])
        store.open.set()
        assert await ears.end() is None
        assert await late.end() is None
        assert (store.row(job.id).state, store.row(job.id).text) == ("done", "A")

    async def test_an_end_that_cannot_be_kept_is_not_told_until_it_is(self, new_stage) -> None:
        store = FakeStore()
        stage = await new_stage(store)
        job, ears = await stage.add()
        turn = await stage.turn()
        store.broken = Unavailable("The database is away.")
        turn.end("A")
        await until(lambda: store.failures >= 2)
        late = stage.listen(job)
        assert (ears.heard, late.heard) == (["", "A"], ["", "A"])
        assert store.row(job.id).state == "waiting"
        store.broken = None
        assert await ears.end() is None
        assert await late.end() is None
        assert store.row(job.id).state == "done"
        assert len(stage.turns) == 1

    async def test_no_more_ends_wait_for_the_store_than_there_are_places(self, new_stage) -> None:
        store = FakeStore()
        stage = await new_stage(store)
        jobs = [await stage.add(str(number)) for number in range(PLACES + 1)]
        await stage.turn(of=PLACES)
        store.broken = Unavailable("The database is away.")
        for turn in list(stage.turns):
            turn.end("A")
        await until(lambda: store.failures >= 2 * PLACES)
        assert len(stage.turns) == PLACES
        store.broken = None
        (await stage.turn(PLACES)).end("A")
        for _, ears in jobs:
            assert await ears.end() is None

    async def test_of_a_trouble_is_told_once(self, new_stage, caplog) -> None:
        store = FakeStore()
        stage = await new_stage(store)
        jobs = [await stage.add() for _ in range(PLACES)]
        await stage.turn(of=PLACES)
        store.broken = Unavailable("The database is away.")
        for turn in stage.turns:
            turn.end("A")
        await until(lambda: store.failures >= 2 * PLACES)
        store.broken = None
        for _, ears in jobs:
            assert await ears.end() is None
        told = [record.getMessage() for record in caplog.records]
        assert len(told) == 2
        assert "The database is away." in told[0]

    async def test_what_could_not_be_kept_is_done_again_and_nobody_heard_an_end(
        self, new_stage
    ) -> None:
        store = FakeStore()
        first = await new_stage(store)
        job, ears = await first.add("Q")
        turn = await first.turn()
        store.broken = Unavailable("The database is away.")
        turn.end("A")
        await until(lambda: store.failures >= 1)
        await first.jobs.close()
        store.broken = None
        assert ears.heard == ["", "A"]
        second = await new_stage(store)
        ears = second.listen(second.jobs.live(job.id))
        (await second.turn()).end("B")
        assert await ears.end() is None
        assert ears.text == "B"

    async def test_a_start_that_cannot_be_kept_is_waited_for(self, new_stage) -> None:
        store = FakeStore()
        first = await new_stage(store)
        job, _ = await first.add("Q")
        await first.turn()
        store = store.killed()
        store.broken = Unavailable("The database is away.")
        second = await new_stage(store)
        ears = second.listen(second.jobs.live(job.id))
        await until(lambda: store.failures >= 2)
        assert (second.turns, ears.heard) == ([], [""])
        store.broken = None
        (await second.turn()).end("A")
        assert await ears.end() is None

    async def test_of_what_ended_the_work_is_not_kept(self, new_stage: NewStage) -> None:
        store = FakeStore()
        stage = await new_stage(store)
        job, ears = await stage.add("Q")
        assert b"Q" in store.row(job.id).body
        (await stage.turn()).end("A")
        await ears.end()
        assert store.row(job.id).body == b""
