"""Jobs: accepted, run when their turn comes, told to whoever listens."""

from __future__ import annotations

import asyncio

import pytest
from fake_store import FakeStore
from job_stage import OPEN, PLACES, SINGLE, TALK, Ears, NewStage, Stage, asks, busy, stream
from support import until

from waifu_llm.conversation import Message
from waifu_llm.errors import (
    InvalidMessage,
    InvalidProvider,
    OutOfMemory,
    ProviderCrashed,
    Unavailable,
)
from waifu_llm.jobs import run as running


class TestStreams:
    async def test_its_text_is_heard_as_it_comes(self, stage: Stage) -> None:
        _, ears = await stage.add("hello")
        turn = await stage.turn()
        assert (turn.asked, turn.request.params.model_id) == ("hello", "m")
        turn.say("one ")
        turn.end("two")
        assert await ears.end() is None
        assert ears.heard == ["", "one ", "two", None]

    async def test_each_gets_what_the_one_before_said_and_the_last_is_heard(self, stage) -> None:
        assistant = {
            "streams": [
                stream("{query}"),
                stream("{query} {previous_stream_output}"),
                stream("{previous_stream_output}"),
            ]
        }
        _, ears = await stage.add("Q", assistant=assistant)
        (await stage.turn(0)).end("{query}")
        second = await stage.turn(1)
        assert second.asked == "Q {query}"
        second.end("more")
        third = await stage.turn(2)
        assert third.asked == "more"
        third.end("end")
        assert await ears.end() is None
        assert ears.heard == ["", "end", None]

    async def test_a_failure_of_an_early_one_is_the_job_s(self, stage: Stage) -> None:
        _, ears = await stage.add(assistant={"streams": [stream("a"), stream("b")]})
        (await stage.turn()).fail(OutOfMemory("It does not fit."))
        assert await ears.end() == "It does not fit."
        assert (ears.text, len(stage.turns)) == ("", 1)

    async def test_a_long_history_is_summed_up_by_whom_the_template_names(self, stage) -> None:
        summary = {
            "insert": "history_summary",
            "provider": SINGLE,
            "settings": {"model": "small"},
            "keep": 1,
        }
        _, ears = await stage.add(
            "Q", assistant=asks(summary, {"role": "user", "content": "{query}"}), history=TALK
        )
        turn = await stage.turn(0)
        assert (turn.who, turn.request.params.model_id) == (SINGLE, "small")
        assert turn.asked == "user: one\nassistant: two"
        turn.end(" They counted. ")
        turn = await stage.turn(1)
        assert turn.who == OPEN
        first, *others = turn.request.messages
        assert str(first.content).endswith(": They counted.")
        assert others == [TALK[2], Message("user", "Q")]
        turn.end("A")
        assert await ears.end() is None
        assert ears.heard == ["", "A", None]

    async def test_a_short_history_needs_no_summary(self, stage: Stage) -> None:
        await stage.add(assistant=asks({"insert": "history_summary"}), history=TALK)
        assert (await stage.turn()).request.messages == TALK

    async def test_a_summary_is_for_one_stream_alone(self, stage: Stage) -> None:
        short = {"insert": "history_summary", "keep": 1}
        whole = {"insert": "history_summary", "keep": 9}
        assistant = {"streams": [stream(short), stream(whole)]}
        await stage.add(assistant=assistant, history=TALK)
        (await stage.turn(0)).end("They counted.")
        (await stage.turn(1)).end("A")
        assert (await stage.turn(2)).request.messages == TALK

    async def test_the_roles_of_the_history_are_as_they_came(self, stage: Stage) -> None:
        talk = [Message("user", "Where?"), Message("system", "In Paris.")]
        await stage.add(assistant=asks({"insert": "history"}), history=talk)
        assert (await stage.turn()).request.messages == talk

    async def test_a_job_with_nothing_to_ask_says_so(self, stage: Stage) -> None:
        _, ears = await stage.add(assistant=asks({"insert": "history"}))
        assert "nothing to ask" in str(await ears.end())

    async def test_much_text_goes_through_whole(self, stage: Stage) -> None:
        query = "{query} 漢字 \\1" * 100_000
        _, ears = await stage.add(query)
        turn = await stage.turn()
        assert turn.asked == query
        turn.end(query)
        assert await ears.end() is None
        assert ears.text == query

    async def test_one_of_the_shelf_is_asked_by_its_name(self, stage: Stage) -> None:
        stage.shelf.put(
            "guide",
            b'{"streams":[{"provider":"open","settings":{"model":"m"},'
            b'"messages":[{"role":"user","content":"Guide: {query}"}]}]}',
        )
        await stage.add("Q", assistant="guide")
        stage.shelf.remove("guide")
        assert (await stage.turn()).asked == "Guide: Q"

    @pytest.mark.parametrize(
        ("assistant", "error"),
        [
            ("nobody", InvalidMessage),
            ({"streams": []}, InvalidMessage),
            (asks(provider="nobody"), InvalidProvider),
            (asks({"insert": "history_summary", "provider": "nobody", "keep": 0}), InvalidProvider),
        ],
    )
    async def test_what_cannot_be_done_is_not_accepted(self, stage, assistant, error) -> None:
        with pytest.raises(error):
            await stage.add(assistant=assistant, history=TALK)


class TestTooMuch:
    async def test_an_answer_without_an_end_is_ended(self, stage, monkeypatch) -> None:
        monkeypatch.setattr(running, "MOST_TEXT", 10)
        _, ears = await stage.add()
        turn = await stage.turn()
        turn.say("12345")
        turn.say("67890")
        turn.say("1")
        assert "more than 10 characters" in str(await ears.end())
        assert ears.text == "1234567890"
        await until(lambda: turn.interrupted)
        _, ears = await stage.add()
        (await stage.turn(1)).end("1234567890")
        assert await ears.end() is None


class TestListening:
    async def test_who_comes_late_hears_what_was_missed_and_what_comes(self, stage: Stage) -> None:
        job, _ = await stage.add()
        turn = await stage.turn()
        turn.say("one ")
        turn.say("two ")
        late = stage.listen(job)
        assert late.heard == ["", "one two "]
        turn.end("three")
        assert await late.end() is None
        assert late.text == "one two three"

    async def test_who_leaves_hears_nothing_more(self, stage: Stage) -> None:
        job, ears = await stage.add()
        other = stage.listen(job)
        turn = await stage.turn()
        turn.say("one")
        job.stop_listening(ears)
        turn.end("two")
        await other.end()
        assert ears.heard == ["", "one"]

    async def test_what_became_of_it_is_kept_after_its_end(self, stage: Stage) -> None:
        done, ears = await stage.add()
        (await stage.turn()).end("A")
        await ears.end()
        failed, ears = await stage.add()
        turn = await stage.turn(1)
        turn.say("half")
        turn.fail(ProviderCrashed("It died."))
        await ears.end()
        assert stage.jobs.live(done.id) is None
        kept = [await stage.jobs.ended(job.id) for job in (done, failed)]
        told = [(each.state, each.text, each.message) for each in kept]
        assert told == [("done", "A", ""), ("failed", "half", "It died.")]

    async def test_it_is_forgotten_in_time(self, new_stage: NewStage) -> None:
        stage = await new_stage(jobs_kept_seconds=0.0)
        job, ears = await stage.add()
        (await stage.turn()).end("A")
        await ears.end()
        async with asyncio.timeout(30):
            while True:
                try:
                    await stage.jobs.ended(job.id)
                except InvalidMessage:
                    break
                await asyncio.sleep(0.01)

    async def test_in_memory_the_latest_are_kept(self, new_stage: NewStage) -> None:
        stage = await new_stage(max_jobs=3)
        jobs = []
        for number in range(4):
            job, ears = await stage.add()
            (await stage.turn(number)).end("A")
            await ears.end()
            jobs.append(job)
        with pytest.raises(InvalidMessage, match="There is no job"):
            await stage.jobs.ended(jobs[0].id)
        assert (await stage.jobs.ended(jobs[1].id)).text == "A"

    async def test_one_that_ended_already_is_told_whole(self, stage: Stage) -> None:
        job, ears = await stage.add()
        (await stage.turn()).end("A")
        await ears.end()
        assert stage.listen(job).heard == ["", "A", None]


class TestClosing:
    async def test_without_a_store_every_job_fails_and_says_why(self, stage: Stage) -> None:
        await busy(stage)
        jobs = [await stage.add() for _ in range(3)]
        _, runs = await stage.add(assistant=asks(provider=SINGLE))
        turn = await stage.turn(PLACES)
        await stage.jobs.close()
        for ears in [*(ears for _, ears in jobs), runs]:
            assert "shut down" in str(await ears.end())
        await until(lambda: turn.interrupted)
        with pytest.raises(Unavailable, match="shutting down"):
            stage.prepare()

    async def test_with_one_nobody_is_told_of_an_end_that_there_is_not(self, new_stage) -> None:
        stage = await new_stage(FakeStore())
        await busy(stage)
        _, waits = await stage.add()
        await stage.jobs.close()
        assert waits.heard == [1]
        assert all(turn.interrupted for turn in stage.turns)

    async def test_no_job_is_left_running(self, stage: Stage) -> None:
        ears: list[Ears] = [(await stage.add(str(number)))[1] for number in range(5)]
        for number in range(5):
            (await stage.turn(number)).end("A")
        for each in ears:
            await each.end()
        assert stage.jobs.status() == {"waiting": 0, "running": 0}
        assert stage.engine.status()["clients"] == 5  # those that a test let in, and none of ours
        await until(lambda: not any(each["holders"] for each in stage.engine.status()["loads"]))
