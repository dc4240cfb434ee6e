"""What a client loaded is given back, once."""

from __future__ import annotations

import pytest
from guest_stage import (
    KEYED,
    OPEN,
    OTHER,
    ask,
    ask_lasting,
    asked,
    failed_load,
    holders,
    load,
    turns,
)

from waifu_llm.errors import NotLoaded


class TestGivingBack:
    async def test_unload_gives_back_the_last_and_the_one_before_is_the_default(
        self, guest, engine
    ) -> None:
        await load(guest, OTHER)
        await load(guest, OPEN)
        assert guest.holdings.unload(None) == OPEN
        assert holders(engine) == 1
        assert await ask(guest).answer() == OTHER

    async def test_unload_by_name_gives_back_that_one(self, guest, engine) -> None:
        await load(guest, OTHER)
        await load(guest, OPEN)
        assert guest.holdings.unload(OTHER) == OTHER
        assert holders(engine) == 1
        assert await ask(guest).answer() == OPEN

    async def test_what_is_not_loaded_cannot_be_given_back(self, guest) -> None:
        for name in (None, OPEN):
            with pytest.raises(NotLoaded):
                guest.holdings.unload(name)

    async def test_unload_stops_no_answer_that_runs(self, shop) -> None:
        guest = shop.engine(idle_seconds=0).enter()
        await load(guest, OPEN)
        ear = await ask_lasting(guest)
        guest.holdings.unload(OPEN)
        await turns()
        assert not shop.backend(OPEN).closed.is_set()
        shop.backend(OPEN).answers[0].end()
        assert await ear.answer() == OPEN
        await turns()
        assert shop.backend(OPEN).closed.is_set()

    async def test_unload_ends_what_still_loads(self, guest, engine, shop) -> None:
        shop.hold(OPEN)
        loading = guest.holdings.load(asked(OPEN))
        ear = ask(guest)
        await turns()
        assert guest.holdings.unload(OPEN) == OPEN
        assert await ear.answer() == "NOT_LOADED"
        await turns()
        assert loading.done()
        assert holders(engine) == 0
        assert shop.backend(OPEN).closed.is_set()
        with pytest.raises(NotLoaded):
            guest.holdings.unload(OPEN)

    async def test_two_loads_of_one_name_are_both_given_up_by_who_leaves(
        self, guest, engine, shop
    ) -> None:
        for key in ("key-one", "key-two"):
            shop.hold(key)
        loadings = [guest.holdings.load(asked(KEYED, key)) for key in ("key-one", "key-two")]
        await turns()
        engine.leave(guest)
        await turns()
        assert [each.done() for each in loadings] == [True, True]
        assert holders(engine) == 0
        assert [each.closed.is_set() for each in shop.backends] == [True, True]

    async def test_who_leaves_holds_nothing_and_has_nothing_running(
        self, guest, engine, shop
    ) -> None:
        await load(guest, OTHER)
        await load(guest, KEYED, "key-one", alias="mine")
        ear = await ask_lasting(guest)
        shop.hold(OPEN)
        loading = guest.holdings.load(asked(OPEN))
        waiting = ask(guest, id="waiting")
        await turns()
        engine.leave(guest)
        assert [await each.answer() for each in (ear, waiting)] == ["INTERRUPT", "INTERRUPT"]
        await turns()
        assert loading.done()
        assert holders(engine) == 0
        assert engine.status()["generations"] == 0
        assert shop.backend("key-one").answers[0].interrupted

    async def test_what_who_left_was_loading_without_a_load_is_given_up_too(
        self, guest, engine, shop
    ) -> None:
        shop.hold(OPEN)
        ask(guest, OPEN)
        await turns()
        assert holders(engine) > 0
        engine.leave(guest)
        await turns()
        assert holders(engine) == 0
        assert shop.backend(OPEN).closed.is_set()

    async def test_a_failed_load_holds_nothing(self, guest, engine, shop) -> None:
        await failed_load(guest, shop, OPEN)
        assert holders(engine) == 0

    async def test_what_one_gives_back_another_keeps(self, engine, shop) -> None:
        leaves, stays = engine.enter(), engine.enter()
        for guest in (leaves, stays):
            await load(guest, OPEN)
        engine.leave(leaves)
        await turns()
        assert holders(engine) == 1
        assert await ask(stays).answer() == OPEN

    async def test_nothing_that_is_over_is_held(self, guest, engine) -> None:
        for number in range(3):
            await ask(guest, OPEN, id=str(number)).heard()
        await turns()
        guest.holdings.unload(OPEN)
        assert holders(engine) == 0
