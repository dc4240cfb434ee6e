"""What a job's streams are asked with, and what of that is kept."""

from __future__ import annotations

import pytest
from fake_store import FakeStore
from job_stage import KEY, KEYED, TALK, NewStage, Stage, asks, stream

from waifu_llm.holdings import Asked
from waifu_llm.jobs import work


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
