"""What is everybody's: who is here, what is loaded, and the end of it all."""

from __future__ import annotations

import asyncio
import json

import pytest
from guest_stage import KEYED, OPEN, OTHER, STORED, Shop, ask, ask_lasting, asked, load, turns
from support import LIMIT

from waifu_llm.engine import Engine
from waifu_llm.errors import InvalidProvider, Unavailable, WaifuError


@pytest.fixture
async def shop() -> Shop:
    return Shop()


@pytest.fixture
async def engine(shop: Shop) -> Engine:
    return shop.engine(STORED)


async def test_it_names_what_can_be_loaded(engine):
    assert engine.providers() == sorted([KEYED, OPEN, OTHER])


async def test_it_knows_whose_key_a_name_stands_for(engine):
    assert engine.key_home(KEYED) == (KEYED, "")
    with pytest.raises(InvalidProvider):
        engine.key_home("nobody")


# Status


async def test_status_counts_who_is_here_and_what_runs(engine):
    guest, other = engine.enter(), engine.enter()
    await ask_lasting(guest, OPEN, id="a")
    await ask_lasting(guest, OPEN, id="b")
    status = engine.status()
    assert (status["clients"], status["generations"]) == (2, 2)
    assert [each["provider"] for each in status["loads"]] == [OPEN]
    engine.leave(guest)
    await turns()
    status = engine.status()
    assert (status["clients"], status["generations"]) == (1, 0)
    engine.leave(other)
    assert engine.status()["clients"] == 0


async def test_status_counts_what_waits(shop):
    engine = shop.engine(cloud_concurrency=1)
    guest = engine.enter()
    await ask_lasting(guest, OPEN, id="a")
    for id in "bc":
        ask(guest, OPEN, id=id)
    await turns()
    status = engine.status()
    assert (status["generations"], status["waiting"]) == (3, 2)


async def test_status_shows_no_keys_and_no_prompts(engine):
    guest = engine.enter()
    await load(guest, KEYED, "key-of-ones-own")
    await ask_lasting(guest, KEYED, session="private")
    shown = json.dumps(engine.status())
    for secret in ("key-of-ones-own", STORED, "private", '"hi"'):
        assert secret not in shown


async def test_a_boot_id_is_this_engines_own(shop):
    one, other = shop.engine(), shop.engine()
    assert one.status()["boot_id"] == one.boot_id != other.boot_id


# Its end


async def test_after_silence_everything_has_its_final(engine, shop):
    guest, other = engine.enter(), engine.enter()
    running = await ask_lasting(guest, OPEN, id="running")
    shop.hold(OTHER)
    waiting = ask(other, OTHER, id="waiting")
    just_came = ask(other, OPEN, id="just came")
    assert not engine.closing
    await engine.silence()
    assert engine.closing
    for ear in (running, waiting, just_came):
        assert not ear.waits
        final = await ear.heard()
        assert (final.finish_reason, final.error.code) == ("interrupt", "INTERRUPT")
        assert "shutting down" in final.error.message
    assert shop.backend(OPEN).answers[0].interrupted


async def test_after_silence_nothing_begins(engine, shop):
    guest = engine.enter()
    await load(guest, OPEN)
    await engine.silence()
    for provider in (None, OPEN, OTHER):
        final = await ask(guest, provider).heard()
        assert (final.error and final.error.code, final.response) == ("UNAVAILABLE", "")
    for loading in (guest.holdings.load(asked(OTHER)), engine.enter().holdings.load(asked(OPEN))):
        with pytest.raises(Unavailable):
            async with asyncio.timeout(LIMIT):
                await loading
    assert [each.who for each in shop.backends] == [OPEN]


async def test_after_silence_nobody_waits_for_a_load(engine, shop):
    shop.hold(OPEN)
    loading = engine.enter().holdings.load(asked(OPEN))
    await turns()
    await engine.silence()
    await turns()
    assert isinstance(loading.exception(), WaifuError)


async def test_close_frees_all_that_is_loaded_or_loading(engine, shop):
    guest = engine.enter()
    await load(guest, OPEN)
    await load(guest, KEYED, "key-of-ones-own")
    shop.hold(OTHER)
    guest.holdings.load(asked(OTHER))
    await turns()
    async with asyncio.timeout(LIMIT):
        await engine.close()
    assert [each.closed.is_set() for each in shop.backends] == [True] * 3
    assert engine.status()["loads"] == []
