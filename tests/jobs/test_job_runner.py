"""Jobs: accepted, run when their turn comes, told to whoever listens, never forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from job_stage import KEY, KEYED, OPEN, SINGLE, Ears, FakeStore, Stage, asks, stream

from waifu_llm.conversation import Message
from waifu_llm.errors import (
    Busy,
    Forbidden,
    InvalidMessage,
    InvalidProvider,
    OutOfMemory,
    Overloaded,
    ProviderCrashed,
    RateLimited,
    Timeout,
    Unavailable,
    WaifuError,
)
from waifu_llm.holdings import Asked
from waifu_llm.jobs import room, work
from waifu_llm.jobs import run as running

NewStage = Callable[..., Awaitable[Stage]]
TALK = [Message("user", "one"), Message("assistant", "two"), Message("user", "three")]
PLACES = 2


async def busy(stage: Stage, places: int = PLACES, **more: Any) -> None:
    """All places are taken, by jobs that say nothing."""
    for _ in range(places):
        await stage.add("busy", client="busy", **more)
    await stage.until(lambda: len(stage.turns) == places)


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


class TestSettings:
    async def test_they_are_the_model_s_the_provider_s_and_the_load_s(self, stage) -> None:
        settings = {
            "temperature": 1,
            "max_tokens": 5,
            "odd": {"x": 1},
            "region": "eu",
            "api_key": KEY,
        }
        await stage.add(assistant=asks(provider=KEYED, settings=settings))
        turn = await stage.turn()
        assert turn.settings == {"region": "eu", "api_key": KEY}
        assert turn.request.params.temperature == 1
        assert turn.request.params.max_output_length == 5
        assert turn.request.params.extra == {"odd": {"x": 1}}

    async def test_a_provider_is_loaded_as_the_client_loaded_it(self, stage: Stage) -> None:
        guest = stage.engine.enter()
        await guest.holdings.load(Asked(KEYED, {"api_key": KEY}, alias="mine"))
        await stage.add(guest=guest, assistant=asks(provider="mine"))
        assert (await stage.turn()).settings == {"api_key": KEY}

    async def test_also_when_the_client_is_gone_before_its_turn(self, new_stage: NewStage) -> None:
        stage = await new_stage(cloud_concurrency=1)
        guest = stage.engine.enter()
        await guest.holdings.load(Asked(KEYED, {"api_key": KEY}))
        await stage.add(guest=guest, assistant=asks(provider=KEYED))
        _, ears = await stage.add("last", guest=guest, assistant=asks(provider=KEYED))
        stage.engine.leave(guest)
        (await stage.turn(0)).end()
        turn = await stage.turn(1)
        assert (turn.asked, turn.settings) == ("last", {"api_key": KEY})
        turn.end()
        assert await ears.end() is None

    async def test_a_stored_key_is_asked_for_by_its_name(self, stage: Stage) -> None:
        guest = stage.engine.enter()
        await guest.holdings.load(Asked(KEYED, {"api_key": KEY}))
        job = stage.prepare(guest=guest, assistant=asks(provider=KEYED, key="stream"))
        (load,) = job.loads
        assert load.asked == Asked(KEYED, key="stream")
        assert b'"key":"stream"' in job.stored.body

    async def test_nobody_spends_another_s_key(self, stage: Stage) -> None:
        guest = stage.engine.enter()
        await guest.holdings.load(Asked(KEYED, {"api_key": KEY}))
        _, ears = await stage.add(assistant=asks(provider=KEYED))
        assert "needs a key" in str(await ears.end())

    async def test_a_stream_that_says_where_to_go_takes_no_key_of_the_client_there(
        self, stage: Stage
    ) -> None:
        guest = stage.engine.enter()
        await guest.holdings.load(Asked(KEYED, {"api_key": KEY}))
        elsewhere = asks(provider=KEYED, settings={"base_url": "http://elsewhere.example"})
        _, ears = await stage.add(guest=guest, assistant=elsewhere)
        assert "needs a key" in str(await ears.end())

    async def test_what_is_kept_of_a_job_has_no_key(self, stage: Stage) -> None:
        guest = stage.engine.enter()
        secret = {"api_key": KEY, "base_url": f"https://user:{KEY}@host.example", "region": "eu"}
        await guest.holdings.load(Asked(KEYED, {**secret, "base_url": f"https://h/?key={KEY}"}))
        summary = {"insert": "history_summary", "provider": KEYED, "settings": secret, "keep": 0}
        theirs = stream(summary, "x", provider=KEYED, settings=secret)
        assistant = {"streams": [theirs, stream("y", provider=KEYED), stream("z", settings=secret)]}
        job = stage.prepare(guest=guest, assistant=assistant, history=TALK)
        assert KEY.encode() not in job.stored.body
        assert b'"region":"eu"' in job.stored.body


NESTED = {
    "headers": {"X-Anything": KEY},
    "deep": [{"down": {"accessToken": KEY}}],
    "proxy": f"http://user:{KEY}@host",
}


class TestSecrets:
    """Wherever one stands, it is used while the module lives, and never written down."""

    async def test_nor_is_one_of_a_tool(self, stage: Stage) -> None:
        tool = {"type": "mcp", "server_url": "https://h", "headers": {"X-Anything": KEY}}
        job = stage.prepare(assistant=asks(settings={"tools": [tool]}))
        assert job.loads[0].params.tools == [tool]
        assert KEY.encode() not in job.stored.body
        assert work.read(job.stored.body).needs_key_of_connection

    @pytest.mark.parametrize("name", NESTED)
    async def test_one_below_the_top_is_used_and_not_kept(self, new_stage, name: str) -> None:
        store = FakeStore()
        first = await new_stage(store)
        secret = {name: NESTED[name]}
        job, _ = await first.add(assistant=asks(settings={**secret, "extra": {"open": secret}}))
        assert (await first.turn()).request.params.extra == {**secret, "open": secret}
        store = store.killed()
        assert not store.holds(KEY)
        second = await new_stage(store)
        assert "key that its client had brought" in (await second.jobs.ended(job.id)).message

    async def test_nor_is_what_nobody_reads(self, stage: Stage) -> None:
        message = {"role": "user", "content": "{query}", "api_key": KEY}
        summary = {"insert": "history_summary", "keep": 1, "headers": {"a": KEY}}
        job = stage.prepare(assistant=asks(message, summary), history=TALK)
        assert KEY.encode() not in job.stored.body
        await stage.jobs.accept(job)
        assert (await stage.turn()).asked.startswith("user: one")

    async def test_a_job_without_any_is_done_after_a_restart(self, new_stage) -> None:
        store = FakeStore()
        first = await new_stage(store)
        harmless = {"extra": {"top_k": 4, "eos_token": "</s>"}}
        schema = {"type": "object", "properties": {"token": {"type": "string"}}}
        await first.add(assistant=asks(settings={**harmless, "schema": schema}))
        before = (await first.turn()).request.params
        second = await new_stage(store.killed())
        assert (await second.turn()).request.params == before


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
        await stage.until(lambda: stage.jobs.status()["waiting"] == 4)
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
        await stage.until(lambda: ears[8].heard == [9, 5])
        await stage.until(lambda: ears[4].heard == [5, 1])
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
        await stage.until(lambda: turn.interrupted)
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
        await stage.until(lambda: store.failures >= 2)
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
            await stage.until(lambda: bool(stage.loaded))
        if when == "between two tries":
            (await stage.turn()).fail(Overloaded("Full.", retry_after_ms=60_000))
            await asyncio.sleep(0)
        if when == "changing lanes":
            (await stage.turn(1)).end()
            await asyncio.sleep(0.01)
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
        await stage.until(lambda: stage.jobs.status() == {"waiting": 2, "running": 1})
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


class TestClosing:
    async def test_without_a_store_every_job_fails_and_says_why(self, stage: Stage) -> None:
        await busy(stage)
        jobs = [await stage.add() for _ in range(3)]
        _, runs = await stage.add(assistant=asks(provider=SINGLE))
        turn = await stage.turn(PLACES)
        await stage.jobs.close()
        for ears in [*(ears for _, ears in jobs), runs]:
            assert "shut down" in str(await ears.end())
        await stage.until(lambda: turn.interrupted)
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
        await stage.until(
            lambda: not any(each["holders"] for each in stage.engine.status()["loads"])
        )
