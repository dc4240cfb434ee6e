"""Whose turn it is, and what is asked again later."""

from __future__ import annotations

import pytest
from job_stage import PLACES, SINGLE, NewStage, Stage, asks, busy, stream
from support import until

from waifu_llm.errors import (
    Busy,
    OutOfMemory,
    Overloaded,
    ProviderCrashed,
    RateLimited,
    Timeout,
    Unavailable,
    WaifuError,
)
from waifu_llm.jobs import run as running


class TestTurns:
    async def test_as_many_run_at_once_as_the_provider_takes(self, stage: Stage) -> None:
        jobs = [await stage.add(str(number)) for number in range(4)]
        await stage.turn(of=PLACES)
        assert [ears.heard for _, ears in jobs] == [[""], [""], [1], [2]]
        stage.turns[0].end()
        assert (await stage.turn(2)).asked == "2"
        assert jobs[2][1].heard[1:] == [""]
        assert stage.jobs.status() == {"waiting": 1, "running": 2}

    async def test_providers_do_not_wait_for_each_other(self, stage: Stage) -> None:
        await busy(stage, places=1, assistant=asks(provider=SINGLE))
        _, waits = await stage.add(assistant=asks(provider=SINGLE))
        _, runs = await stage.add()
        (await stage.turn(1)).end()
        assert await runs.end() is None
        assert waits.heard == [1]

    async def test_clients_take_turns(self, stage: Stage) -> None:
        await busy(stage)
        for number in range(3):
            await stage.add(f"a{number}", client="a")
        _, late = await stage.add("b0", client="b")
        assert late.heard == [2]
        for number in range(PLACES + 4):
            (await stage.turn(number)).end()
        assert [turn.asked for turn in stage.turns[PLACES:]] == ["a0", "b0", "a1", "a2"]

    async def test_a_higher_priority_comes_first(self, stage: Stage) -> None:
        await busy(stage)
        await stage.add("low", priority=-1)
        await stage.add("usual")
        await stage.add("high", priority=10)
        for number in range(PLACES + 3):
            (await stage.turn(number)).end()
        assert [turn.asked for turn in stage.turns[PLACES:]] == ["high", "usual", "low"]

    async def test_a_job_that_has_begun_goes_before_those_that_have_not(self, stage) -> None:
        await busy(stage, places=1, assistant=asks(provider=SINGLE))
        chain = {"streams": [stream("first"), stream("second", provider=SINGLE)]}
        await stage.add("waits", assistant=asks(provider=SINGLE))
        await stage.add(assistant=chain)
        (await stage.turn(1)).end()
        stage.turns[0].end()
        assert (await stage.turn(2)).asked == "second"
        stage.turns[2].end()
        assert (await stage.turn(3)).asked == "waits"

    async def test_clients_take_turns_also_where_jobs_have_begun(self, stage: Stage) -> None:
        await busy(stage, places=1, assistant=asks(provider=SINGLE))
        chain = {"streams": [stream("first"), stream("{query}", provider=SINGLE)]}
        for number in range(4):
            await stage.add(f"a{number}", client="a", assistant=chain)
            (await stage.turn(number + 1)).end()
        await until(lambda: stage.jobs.status()["waiting"] == 4)
        for number in range(2):
            await stage.add(f"b{number}", client="b", assistant=asks(provider=SINGLE))
        stage.turns[0].end()
        for number in range(5, 11):
            (await stage.turn(number)).end()
        assert [turn.asked for turn in stage.turns[5:]] == ["a0", "b0", "a1", "b1", "a2", "a3"]

    async def test_who_waits_is_told_when_it_came_much_nearer(self, new_stage: NewStage) -> None:
        stage = await new_stage(cloud_concurrency=1)
        await busy(stage, places=1)
        ears = [(await stage.add(str(number)))[1] for number in range(9)]
        for number in range(4):
            (await stage.turn(number)).end()
            await stage.turn(number + 1)
        await until(lambda: ears[8].heard == [9, 5])
        await until(lambda: ears[4].heard == [5, 1])
        assert ears[3].heard == [4, ""]


class TestBusy:
    """An accepted job does not fail because somebody is busy."""

    @pytest.mark.parametrize(
        "error",
        [
            Overloaded("Full.", retry_after_ms=1),
            RateLimited("Wait.", retry_after_ms=1),
            ProviderCrashed("Too often.", retry_after_ms=1),
        ],
    )
    async def test_it_asks_again_after_the_wait(self, stage: Stage, error: WaifuError) -> None:
        _, ears = await stage.add("Q")
        for number in range(3):
            (await stage.turn(number)).fail(error)
        turn = await stage.turn(3)
        assert turn.asked == "Q"
        turn.end("A")
        assert await ears.end() is None
        assert ears.heard == ["", "A", None]

    async def test_also_where_it_cannot_be_loaded_for_now(self, stage: Stage) -> None:
        stage.load_errors = [Busy("Full.", retry_after_ms=1), Overloaded("x", retry_after_ms=1)]
        _, ears = await stage.add()
        (await stage.turn()).end("A")
        assert await ears.end() is None
        assert len(stage.loaded) == 3

    @pytest.mark.parametrize("kind", [RateLimited, Unavailable, Timeout, Busy, ProviderCrashed])
    async def test_so_it_does_where_none_was_named(self, stage, monkeypatch, kind) -> None:
        monkeypatch.setattr(running, "_LONGEST_PAUSE", 0.001)
        _, ears = await stage.add("Q")
        (await stage.turn(0)).fail(kind("Not now."))
        (await stage.turn(1)).end("A")
        assert await ears.end() is None
        assert ears.heard == ["", "A", None]

    async def test_a_question_that_a_provider_dies_of_is_not_asked_for_ever(
        self, stage, monkeypatch
    ) -> None:
        monkeypatch.setattr(running, "_LONGEST_PAUSE", 0.001)
        _, ears = await stage.add()
        for number in range(running.MOST_CRASHES):
            (await stage.turn(number)).fail(ProviderCrashed("It died."))
        assert await ears.end() == "It died."

    @pytest.mark.parametrize(
        "error", [OutOfMemory("It does not fit."), RateLimited("x", retry_after_ms=10**9)]
    )
    async def test_what_stays_so_or_names_too_long_a_wait_is_the_end(self, stage, error) -> None:
        _, ears = await stage.add()
        (await stage.turn()).fail(error)
        assert await ears.end() == error.message

    async def test_after_the_first_word_it_does_not_begin_again(self, stage: Stage) -> None:
        _, ears = await stage.add()
        turn = await stage.turn()
        turn.say("half")
        turn.fail(Overloaded("Full.", retry_after_ms=1))
        assert await ears.end() == "Full."
        assert ears.text == "half"

    async def test_not_for_ever(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(running, "PATIENCE_SECONDS", 0.0)
        _, ears = await stage.add()
        (await stage.turn()).fail(Overloaded("Full.", retry_after_ms=1))
        assert await ears.end() == "Full."

    async def test_a_provider_that_does_not_load_fails_the_job_and_no_other(self, stage) -> None:
        stage.load_errors = [OutOfMemory("It does not fit.")]
        _, ears = await stage.add()
        assert await ears.end() == "It does not fit."
        _, next_one = await stage.add()
        (await stage.turn()).end("A")
        assert await next_one.end() is None
