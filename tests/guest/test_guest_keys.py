"""Whose key a load is made with."""

from __future__ import annotations

import asyncio

import pytest
from guest_stage import KEYED, OPEN, STORED, ask, asked, catalogue, failed_load, load, turns
from support import LIMIT

from waifu_llm.config import Config
from waifu_llm.engine import Engine
from waifu_llm.errors import NotLoaded
from waifu_llm.paths import Paths
from waifu_llm.redaction import Redactor
from waifu_llm.stored import Stored


class TestWhoseKeyIsUsed:
    async def test_nobody_spends_anothers_key(self, engine) -> None:
        owner, stranger = engine.enter(), engine.enter()
        await load(owner, KEYED, "key-of-the-owner")
        assert await ask(owner, KEYED).answer() == "key-of-the-owner"
        assert await ask(stranger, KEYED).answer() == "NOT_LOADED"
        assert await ask(stranger).answer() == "NOT_LOADED"

    async def test_equal_loads_share_one_and_others_do_not(self, engine, shop) -> None:
        one, two = engine.enter(), engine.enter()
        for guest in (one, two):
            await load(guest, KEYED, "shared-key")
        assert [each.who for each in shop.backends] == ["shared-key"]
        await load(two, KEYED, "another-key")
        assert [each.who for each in shop.backends] == ["shared-key", "another-key"]

    async def test_with_a_stored_key_the_name_is_enough(self, stored) -> None:
        guest = stored.enter()
        assert await ask(guest, KEYED).answer() == STORED
        assert await ask(guest).answer() == "NOT_LOADED"

    async def test_a_key_of_ones_own_comes_before_the_stored_one(self, stored) -> None:
        guest = stored.enter()
        await load(guest, KEYED, "key-of-ones-own")
        assert await ask(guest, KEYED).answer() == "key-of-ones-own"

    @pytest.mark.parametrize("pause", [False, True], ids=["at once", "later"])
    @pytest.mark.parametrize("slow", [STORED, "key-of-ones-own"])
    async def test_a_generate_just_before_a_load_does_not_displace_it(
        self, stored, shop, slow, pause
    ) -> None:
        guest = stored.enter()
        shop.hold(slow)
        early = ask(guest, KEYED, id="early")
        if pause:
            await turns()
        loading = guest.holdings.load(asked(KEYED, "key-of-ones-own"))
        await turns()
        shop.release(slow)
        async with asyncio.timeout(LIMIT):
            await loading
        await early.heard()
        await turns()
        assert await ask(guest, KEYED).answer() == "key-of-ones-own"
        assert await ask(guest).answer() == "key-of-ones-own"

    async def test_after_a_failed_load_a_stored_key_is_not_used_in_its_place(
        self, stored, shop
    ) -> None:
        guest = stored.enter()
        await failed_load(guest, shop, KEYED, "key-of-ones-own")
        final = await ask(guest, KEYED).heard()
        assert isinstance(final.error, NotLoaded)
        assert STORED not in shop.loading

    async def test_nor_one_that_was_used_before(self, stored, shop) -> None:
        guest = stored.enter()
        assert await ask(guest, KEYED).answer() == STORED
        await failed_load(guest, shop, KEYED, "key-of-ones-own")
        assert await ask(guest, KEYED).answer() == "NOT_LOADED"

    async def test_until_the_next_load_of_it(self, stored, shop) -> None:
        guest = stored.enter()
        await failed_load(guest, shop, KEYED, "key-of-ones-own")
        await load(guest, OPEN)
        assert await ask(guest, KEYED).answer() == "NOT_LOADED"
        await load(guest, KEYED, "key-of-ones-own")
        assert await ask(guest, KEYED).answer() == "key-of-ones-own"
        guest.holdings.unload(KEYED)
        assert await ask(guest, KEYED).answer() == STORED

    async def test_a_failed_load_is_its_own_clients_alone(self, stored, shop) -> None:
        await failed_load(stored.enter(), shop, KEYED, "key-of-ones-own")
        assert await ask(stored.enter(), KEYED).answer() == STORED

    async def test_keys_are_hidden_from_then_on(self, shop) -> None:
        redactor = Redactor()
        stored = Stored(Config(), Paths(shop.home, shop.home), lambda: catalogue().specs)
        guest = Engine(Config(), catalogue, shop.open, redactor, stored).enter()
        await load(guest, KEYED, "key-to-be-hidden")
        assert redactor.clean("it is key-to-be-hidden") == "it is ***"
