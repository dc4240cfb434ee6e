"""What a store kept is taken up at the next start, and hurts nobody where it cannot be."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from fake_store import FakeStore
from job_stage import KEY, KEYED, NewStage, asks

from waifu_llm.errors import Unavailable
from waifu_llm.holdings import Asked


class TestAfterARestart:
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
