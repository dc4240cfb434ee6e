"""Which load answers a client, and what it is told of its models."""

from __future__ import annotations

import asyncio

import pytest
from guest_stage import (
    KEYED,
    OPEN,
    OTHER,
    Answer,
    FakeBackend,
    ask,
    asked,
    failed_load,
    holders,
    load,
    turns,
)
from support import LIMIT
from test_generation import Clock

from waifu_llm import holdings as rooms
from waifu_llm.backend import Request, Sink
from waifu_llm.conversation import Image, Message, Penalties
from waifu_llm.errors import Authorization, InvalidProvider, NotLoaded, OutOfMemory


class TestWhichLoadAnswers:
    async def test_a_generate_waits_for_the_load_that_it_names(self, guest, shop) -> None:
        shop.hold(OPEN)
        guest.holdings.load(asked(OPEN))
        guest.holdings.load(asked(OTHER))
        ear = ask(guest, OPEN)
        await turns()
        assert ear.waits
        shop.release(OPEN)
        assert await ear.answer() == OPEN

    async def test_one_that_names_none_waits_for_this_clients_last_load(self, guest, shop) -> None:
        await load(guest, OTHER)
        shop.hold(OPEN)
        guest.holdings.load(asked(OPEN))
        ear = ask(guest)
        await turns()
        assert ear.waits
        shop.release(OPEN)
        assert await ear.answer() == OPEN

    async def test_it_waits_for_no_load_but_that(self, guest, shop) -> None:
        await load(guest, OTHER)
        shop.hold(OPEN)
        guest.holdings.load(asked(OPEN))
        assert await ask(guest, OTHER).answer() == OTHER

    async def test_where_nothing_is_loaded_that_is_said(self, guest) -> None:
        assert await ask(guest).answer() == "NOT_LOADED"

    async def test_what_waited_for_a_load_that_failed_is_not_loaded(self, guest, shop) -> None:
        await load(guest, OTHER)
        shop.hold(OPEN)
        shop.errors[OPEN] = OutOfMemory("It does not fit.")
        loading = guest.holdings.load(asked(OPEN))
        ears = [ask(guest, id="last"), ask(guest, OPEN, id="named")]
        shop.release(OPEN)
        for ear in ears:
            final = await ear.heard()
            assert isinstance(final.error, NotLoaded)
            assert "It does not fit." in final.error.message
        assert isinstance(loading.exception(), OutOfMemory)

    async def test_after_a_failed_load_an_earlier_one_is_the_default(self, guest, shop) -> None:
        await load(guest, OTHER)
        await failed_load(guest, shop, OPEN)
        assert await ask(guest).answer() == OTHER

    async def test_the_last_load_is_the_one_asked_for_last_whichever_is_done_first(
        self, guest, shop
    ) -> None:
        shop.hold(OPEN)
        earlier = guest.holdings.load(asked(OPEN))
        await load(guest, OTHER)
        shop.release(OPEN)
        await earlier
        assert await ask(guest).answer() == OTHER

    async def test_of_two_loads_under_one_name_the_later_stays_whichever_is_done_first(
        self, guest, shop, engine
    ) -> None:
        shop.hold("key-one")
        earlier = guest.holdings.load(asked(KEYED, "key-one"))
        await load(guest, KEYED, "key-two")
        shop.release("key-one")
        await earlier
        assert await ask(guest, KEYED).answer() == "key-two"
        assert holders(engine) == 1

    async def test_a_name_of_ones_own_tells_two_loads_apart(self, guest) -> None:
        await load(guest, KEYED, "key-one", alias="first")
        await load(guest, KEYED, "key-two", alias="second")
        final = await ask(guest, "first").heard()
        assert (final.response, final.provider) == ("key-one", "first")

    async def test_an_unknown_provider_is_told_apart(self, guest) -> None:
        assert await ask(guest, "nobody").answer() == "INVALID_PROVIDER"
        with pytest.raises(InvalidProvider, match="nobody"):
            await load(guest, "nobody")

    async def test_an_unknown_one_is_told_as_such_also_after_it_could_not_be_loaded(
        self, guest
    ) -> None:
        with pytest.raises(InvalidProvider):
            await load(guest, "nobody")
        assert await ask(guest, "nobody").answer() == "INVALID_PROVIDER"

    async def test_the_time_that_a_load_takes_is_not_the_generations(
        self, guest, shop, monkeypatch
    ) -> None:
        clock = Clock()
        monkeypatch.setattr("waifu_llm.generation.monotonic", clock)
        shop.hold(OPEN)
        loading = guest.holdings.load(asked(OPEN))
        with monkeypatch.context() as patched:
            patched.setattr(asyncio.get_running_loop(), "call_later", clock.call_later)
            ear = ask(guest, timeout_ms=1)
            await turns()
            clock.passes(3600)
            shop.release(OPEN)
            await turns()
        await loading
        final = await ear.heard()
        assert (final.error, final.timing.queued_ms) == (None, 3_600_000)


class TestModels:
    async def test_they_are_asked_for_anew(self, guest) -> None:
        await load(guest, OPEN)
        assert (
            await guest.holdings.models(None) == await guest.holdings.models(OPEN) == ["open now"]
        )

    async def test_where_that_takes_long_those_seen_at_load_are_told(self, guest, shop) -> None:
        """The published client waits for a second and no longer."""
        await load(guest, OPEN)
        shop.hold("models of open")
        async with asyncio.timeout(LIMIT):
            assert await guest.holdings.models(None) == ["open at first"]
        assert rooms._FRESH_MODELS_SECONDS < 1

    async def test_they_wait_for_the_load(self, guest, shop) -> None:
        shop.hold(OPEN)
        guest.holdings.load(asked(OPEN))
        models = asyncio.create_task(guest.holdings.models(None))
        await turns()
        assert not models.done()
        shop.release(OPEN)
        async with asyncio.timeout(LIMIT):
            assert await models == ["open now"]

    async def test_nothing_that_is_loaded_has_none(self, guest) -> None:
        with pytest.raises(NotLoaded):
            await guest.holdings.models(None)


class TestRefusals:
    async def test_what_a_provider_cannot_take_is_refused_and_not_dropped(self, guest) -> None:
        image = Message(role="user", content="hi", images=[Image(mime="image/png", data="aa==")])
        for refused in (
            ask(guest, OPEN, message=image, id="images"),
            ask(guest, OPEN, tools=[{"type": "web_search"}], id="tools"),
            ask(guest, OPEN, response_format={}, id="format"),
            ask(guest, OPEN, top_p=0.5, id="top_p"),
            ask(guest, OPEN, seed=1, id="seed"),
            ask(guest, OPEN, penalties=Penalties(presence=1), id="presence"),
            ask(guest, OPEN, penalties=Penalties(frequency=1), id="frequency"),
            ask(guest, OPEN, penalties=Penalties(repetition=2), id="repetition"),
        ):
            assert await refused.answer() == "UNSUPPORTED"

    async def test_a_fault_of_the_module_is_a_final_and_a_line_in_the_log(
        self, guest, shop, monkeypatch, caplog
    ) -> None:
        def fails(self: FakeBackend, request: Request, sink: Sink) -> Answer:
            raise ZeroDivisionError

        monkeypatch.setattr(FakeBackend, "generate", fails)
        assert await ask(guest, OPEN).answer() == "UNEXPECTED"
        await turns()
        assert "a fault of the module" in caplog.text

    async def test_a_load_that_is_refused_is_no_fault_of_the_module(
        self, guest, shop, caplog
    ) -> None:
        shop.errors[OPEN] = Authorization("no")
        with pytest.raises(Authorization):
            await load(guest, OPEN)
        await turns()
        assert not caplog.records
