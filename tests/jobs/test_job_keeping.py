"""With a store no job is forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from fake_store import FakeStore
from job_stage import KEY, KEYED, PLACES, NewStage, asks

from waifu_llm.errors import Unavailable
from waifu_llm.holdings import Asked


class TestStore:
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
        turn.end("A")
        await asyncio.sleep(0.01)
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
        await stage.until(lambda: store.failures >= 2)
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
        await stage.until(lambda: store.failures >= 2 * PLACES)
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
        await stage.until(lambda: store.failures >= 2 * PLACES)
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
        await first.until(lambda: store.failures >= 1)
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
        await second.until(lambda: store.failures >= 2)
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

    async def test_what_was_not_done_is_done_after_a_restart(self, new_stage: NewStage) -> None:
        store = FakeStore()
        first = await new_stage(store, cloud_concurrency=1)
        jobs = [(await first.add(str(number)))[0] for number in range(3)]
        (await first.turn()).say("half")
        store = store.killed()
        second = await new_stage(store, cloud_concurrency=1)
        ears = [second.listen(second.jobs.live(job.id)) for job in jobs]
        for number in range(3):
            turn = await second.turn(number)
            assert turn.asked == str(number)
            turn.end(f"A{number}")
            assert await ears[number].end() is None
        assert [each.text for each in ears] == ["A0", "A1", "A2"]
        assert [store.row(job.id).attempts for job in jobs] == [2, 2, 2]

    async def test_what_ended_is_told_after_a_restart_too(self, new_stage: NewStage) -> None:
        store = FakeStore()
        first = await new_stage(store)
        job, ears = await first.add()
        (await first.turn()).end("A")
        await ears.end()
        second = await new_stage(store)
        assert second.jobs.live(job.id) is None
        assert (await second.jobs.ended(job.id)).text == "A"

    async def test_a_job_that_ends_the_module_is_not_tried_for_ever(self, new_stage) -> None:
        store = FakeStore()
        job: Any = None
        for _ in range(3):
            stage = await new_stage(store)
            job = job or (await stage.add())[0]
            await stage.turn()
            store = store.killed()
        stage = await new_stage(store)
        assert "ended 3 times" in (await stage.jobs.ended(job.id)).message
        assert not stage.turns

    async def test_a_module_that_is_closed_in_order_was_not_ended_by_its_jobs(
        self, new_stage
    ) -> None:
        store = FakeStore()
        job: Any = None
        for _ in range(4):
            stage = await new_stage(store)
            job = job or (await stage.add())[0]
            await stage.turn()
            await stage.jobs.close()
            assert store.row(job.id).attempts == 0
        for _ in range(3):
            stage = await new_stage(store)
            await stage.turn()
            store = store.killed()
        stage = await new_stage(store)
        assert "ended 3 times" in (await stage.jobs.ended(job.id)).message

    async def test_a_start_counts_when_the_job_begins_and_not_before(self, new_stage) -> None:
        store = FakeStore()
        first = await new_stage(store, cloud_concurrency=1)
        begun, waits = [(await first.add(name))[0] for name in ("begun", "waits")]
        await first.turn()
        store = store.killed()
        second = await new_stage(store, cloud_concurrency=1)
        await second.turn()
        assert [store.row(job.id).attempts for job in (begun, waits)] == [2, 1]

    async def test_none_begins_where_jobs_cannot_be_taken_up(self, new_stage) -> None:
        store = FakeStore()
        first = await new_stage(store)
        good, _ = await first.add("good")
        broken, _ = await first.add("broken")
        store = store.killed()
        store._write(msgspec.structs.replace(store.row(broken.id), body=b"not JSON"))
        store.broken = Unavailable("The database is away.")
        with pytest.raises(Unavailable):
            await new_stage(store)
        store.broken = None
        assert store.row(good.id).attempts == 1
        assert (await (await new_stage(store)).turn()).asked == "good"

    async def test_a_job_of_the_connection_s_own_key_fails_and_says_so(self, new_stage) -> None:
        store = FakeStore()
        first = await new_stage(store)
        guest = first.engine.enter()
        await guest.holdings.load(Asked(KEYED, {"api_key": KEY}))
        job, _ = await first.add("Q-found", guest=guest, assistant=asks(provider=KEYED))
        assert store.holds("Q-found")
        await first.turn()
        await first.jobs.close()
        assert not store.holds(KEY)
        second = await new_stage(store)
        assert "key that its client had brought" in (await second.jobs.ended(job.id)).message

    @pytest.mark.parametrize("body", [b"", b"{}", b"not JSON", None])
    async def test_what_cannot_be_taken_up_fails_and_hurts_no_other(self, new_stage, body) -> None:
        store = FakeStore()
        first = await new_stage(store)
        broken, _ = await first.add()
        good, _ = await first.add("good")
        await first.jobs.close()
        row = store.row(broken.id)
        row.body = row.body.replace(b'"open"', b'"gone"') if body is None else body
        store._write(row)
        second = await new_stage(store)
        assert (await second.jobs.ended(broken.id)).state == "failed"
        assert second.jobs.live(good.id)
        assert (await second.turn()).asked == "good"

    async def test_a_client_s_turns_are_its_own_after_a_restart(self, new_stage) -> None:
        store = FakeStore()
        first = await new_stage(store, cloud_concurrency=1)
        for number in range(3):
            await first.add(f"a{number}", client="a")
        await first.add("b", client="b")
        await first.add("high", client="b", priority=1)
        await first.jobs.close()
        second = await new_stage(store, cloud_concurrency=1)
        for number in range(5):
            (await second.turn(number)).end()
        assert [turn.asked for turn in second.turns] == ["a0", "high", "a1", "b", "a2"]
