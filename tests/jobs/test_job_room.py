"""How many jobs may wait, and how much of them may be in memory."""

from __future__ import annotations

import pytest
from job_stage import PLACES, SINGLE, NewStage, Stage, asks, busy, stream
from support import until

from waifu_llm.errors import Overloaded
from waifu_llm.jobs import room


class TestRoom:
    async def test_so_many_may_wait(self, new_stage: NewStage) -> None:
        stage = await new_stage(max_jobs=3, max_jobs_per_client=2)
        await busy(stage)
        await stage.add(client="a")
        job, ears = await stage.add(client="a")
        with pytest.raises(Overloaded, match="2 jobs of this client"):
            await stage.add(client="a")
        await stage.add(client="b")
        with pytest.raises(Overloaded, match="3 jobs wait") as refused:
            await stage.add(client="b")
        assert refused.value.retry_after_ms
        stage.jobs.cancel(job.id, "a", anyones=False)
        await ears.end()
        await stage.add(client="a")
        stage.turns[0].end()
        await stage.turn(PLACES)
        await stage.add(client="b")

    async def test_a_job_between_two_streams_is_one_that_waits(self, new_stage: NewStage) -> None:
        stage = await new_stage(max_jobs=3, max_jobs_per_client=2)
        await busy(stage, places=1, assistant=asks(provider=SINGLE))
        chain = {"streams": [stream("first"), stream("second", provider=SINGLE)]}
        for number in (1, 2):
            await stage.add(client="a", assistant=chain)
            (await stage.turn(number)).end()
        await until(lambda: stage.jobs.status() == {"waiting": 2, "running": 1})
        with pytest.raises(Overloaded, match="2 jobs of this client"):
            await stage.add(client="a")
        await stage.add(client="b", assistant=asks(provider=SINGLE))
        with pytest.raises(Overloaded, match="3 jobs wait"):
            await stage.add(client="b")
        stage.turns[0].end()
        assert (await stage.turn(3)).asked == "second"
        await stage.add(client="a")

    async def test_what_it_takes_from_stream_to_stream_takes_up_room(self, stage, monkeypatch):
        monkeypatch.setattr(room, "MOST_BYTES", 10_000)
        _, ears = await stage.add(assistant={"streams": [stream("a"), stream("b")]})
        (await stage.turn(0)).end("x" * 9_900)
        turn = await stage.turn(1)
        with pytest.raises(Overloaded, match="bytes"):
            await stage.add()
        turn.end()
        await ears.end()
        await stage.add()

    async def test_so_much_may_be_in_memory(self, stage: Stage, monkeypatch) -> None:
        monkeypatch.setattr(room, "MOST_BYTES", 1_000_000)
        _, ears = await stage.add("q" * 900_000)
        with pytest.raises(Overloaded, match="bytes"):
            await stage.add("q" * 200_000)
        await stage.add("q" * 1000)
        await stage.turn(of=PLACES)
        for turn in stage.turns:
            turn.end()
        await ears.end()
        await stage.add("q" * 900_000)
