"""A job that is cancelled ends at once, whatever it does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fake_store import FakeStore
from job_stage import OPEN, PLACES, SINGLE, NewStage, Stage, asks, busy, stream
from support import until

from waifu_llm.errors import Forbidden, InvalidMessage, Overloaded, Unavailable


class TestCancelling:
    async def test_one_that_waits(self, stage: Stage) -> None:
        await busy(stage)
        job, ears = await stage.add("never")
        stage.jobs.cancel(job.id, "a", anyones=False)
        assert await ears.end() == "Cancelled."
        assert ears.heard[:-1] == [1]
        stage.turns[0].end()
        await stage.add("next")
        assert (await stage.turn(PLACES)).asked == "next"

    async def test_of_one_that_never_began_nobody_hears_that_it_did(self, new_stage) -> None:
        store = FakeStore()
        stage = await new_stage(store)
        await busy(stage)
        job, _ = await stage.add()
        store.open.clear()
        stage.jobs.cancel(job.id, "a", anyones=False)
        late = stage.listen(job)
        store.open.set()
        assert await late.end() == "Cancelled."
        assert len(late.heard) == 1

    async def test_it_is_said_when_that_is_kept_and_before_its_listeners_hear(self, new_stage):
        store = FakeStore()
        stage = await new_stage(store)
        job, ears = await stage.add()
        await stage.turn()
        store.broken = Unavailable("The database is away.")
        told: list[Any] = []

        def tell() -> None:
            told.append((store.row(job.id).state, list(ears.heard)))

        stage.jobs.cancel(job.id, "a", anyones=False, on_kept=tell)
        await until(lambda: store.failures >= 2)
        assert told == []
        store.broken = None
        assert await ears.end() == "Cancelled."
        assert told == [("failed", [""])]

    async def test_one_that_speaks(self, stage: Stage) -> None:
        job, ears = await stage.add()
        turn = await stage.turn()
        turn.say("half")
        stage.jobs.cancel(job.id, "a", anyones=False)
        assert await ears.end() == "Cancelled."
        assert turn.interrupted
        turn.say("late")
        assert ears.text == "half"
        assert (await stage.jobs.ended(job.id)).message == "Cancelled."

    @pytest.mark.parametrize(
        "when", ["before its first step", "loading", "between two tries", "changing lanes"]
    )
    async def test_at_any_other_moment_its_place_is_free_again(
        self, new_stage: NewStage, when: str
    ) -> None:
        stage = await new_stage(cloud_concurrency=1)
        assistant = asks()
        if when == "loading":
            stage.may_load.clear()
        if when == "changing lanes":
            await busy(stage, places=1, assistant=asks(provider=SINGLE))
            assistant = {"streams": [stream("first"), stream("second", provider=SINGLE)]}
        job, ears = await stage.add(assistant=assistant)
        if when == "loading":
            await until(lambda: bool(stage.loaded))
        if when == "between two tries":
            (await stage.turn()).fail(Overloaded("Full.", retry_after_ms=60_000))
            await asyncio.sleep(0)
        if when == "changing lanes":
            (await stage.turn(1)).end()
            await until(lambda: stage.jobs.status() == {"waiting": 1, "running": 1})
        before = len(stage.turns)
        stage.jobs.cancel(job.id, "a", anyones=False)
        assert await ears.end() == "Cancelled."
        stage.may_load.set()
        if when == "changing lanes":
            stage.turns[0].end()
        for provider in (OPEN, SINGLE):
            _, next_one = await stage.add("next", assistant=asks(provider=provider))
            turn = await stage.turn(before)
            assert (turn.who, turn.asked) == (provider, "next")
            turn.end()
            assert await next_one.end() is None
            before += 1

    async def test_only_by_who_added_it_or_brings_the_token(self, stage: Stage) -> None:
        job, ears = await stage.add(client="a")
        with pytest.raises(Forbidden):
            stage.jobs.cancel(job.id, "b", anyones=False)
        assert not ears.over
        stage.jobs.cancel(job.id, "b", anyones=True)
        assert await ears.end() == "Cancelled."

    async def test_what_is_over_cannot_be(self, stage: Stage) -> None:
        job, ears = await stage.add()
        stage.jobs.cancel(job.id, "a", anyones=False)
        for _ in range(2):
            with pytest.raises(InvalidMessage, match="waits or runs"):
                stage.jobs.cancel(job.id, "a", anyones=True)
            await ears.end()
        with pytest.raises(InvalidMessage, match="waits or runs"):
            stage.jobs.cancel("nobody", "a", anyones=True)
