"""What is loaded is shared by those who ask alike, and a load that fails is tried again."""

from __future__ import annotations

import asyncio

import pytest
from loads_stage import spec, turns
from support import LIMIT

from waifu_llm.errors import Authorization, Busy, InvalidModel, Timeout, Unavailable
from waifu_llm.loaded import LoadLimits
from waifu_llm.loads import Loads
from waifu_llm.redaction import Redactor
from waifu_llm.specs import Setting

# Sharing


async def test_who_asks_alike_gets_the_same(loads):
    settings = {"api_key": "a", "base_url": "b"}
    turned = dict(reversed(settings.items()))
    assert loads.obtain(spec(), settings) is loads.obtain(spec(), turned)


@pytest.mark.parametrize("other", [{"api_key": "b"}, {}, {"api_key": "a", "x": 1}])
async def test_who_asks_otherwise_gets_another(loads, other):
    assert loads.obtain(spec(), {"api_key": "a"}) is not loads.obtain(spec(), other)


async def test_providers_share_nothing(loads):
    assert loads.obtain(spec("one"), {}) is not loads.obtain(spec("other"), {})


async def test_several_who_wait_share_one_loading(loads, shop):
    shop.gate.clear()
    loaded = loads.obtain(spec(), {})
    waiting = [asyncio.create_task(loaded.ready()) for _ in range(5)]
    await shop.entered()
    assert (loaded.state, loaded.backend) == ("loading", None)
    shop.gate.set()
    assert set(await asyncio.gather(*waiting)) == set(shop.backends)
    assert (len(shop.backends), loaded.state) == (1, "ready")


async def test_a_loaded_thing_answers_at_once_and_knows_its_models(loads, shop):
    loaded = loads.obtain(spec(), {})
    assert await loaded.ready("wanted") is await loaded.ready()
    assert (loaded.known_models, shop.backends[0].model_id) == (["model"], "wanted")
    assert len(shop.backends) == 1


async def test_everyone_who_waits_hears_how_far_it_is(loads, shop):
    shop.gate.clear()
    loaded = loads.obtain(spec(), {})
    heard: list[tuple[str, float]] = []
    tasks = [
        asyncio.create_task(
            loaded.ready(progress=lambda *told, who=who: heard.append((who, *told)))
        )
        for who in "ab"
    ]
    await shop.entered()
    shop.gate.set()
    await asyncio.gather(*tasks)
    assert [who for who, *told in heard if told == ["load", 1.0, "Loaded."]] == ["a", "b"]


async def test_another_model_of_what_is_loaded_is_made_ready(loads, shop):
    loaded = loads.obtain(spec(), {})
    await loaded.ready("one")
    await loaded.ready("other")
    assert (shop.backends[0].model_id, len(shop.backends)) == ("other", 1)
    shop.errors = [InvalidModel("no such model")]
    with pytest.raises(InvalidModel):
        await loaded.ready("nosuch")
    assert await loaded.ready() is shop.backends[0]


async def test_who_joins_a_load_gets_the_model_that_it_names(loads, shop):
    shop.gate.clear()
    loaded = loads.obtain(spec(), {})
    first = asyncio.create_task(loaded.ready("one"))
    backend = await shop.entered()
    second = asyncio.create_task(loaded.ready("other"))
    await turns()
    shop.gate.set()
    await asyncio.gather(first, second)
    assert backend.model_id == "other"


async def test_a_restarted_backend_has_the_model_ready_that_was_wanted(loads, shop):
    loaded = loads.obtain(spec(), {})
    (await loaded.ready("wanted")).alive = False
    assert (await loaded.ready()).model_id == "wanted"


# Room


async def test_what_nobody_holds_makes_room_and_what_is_held_does_not(make, shop):
    loads = make(max_loaded=2)
    held, idle = loads.obtain(spec("held"), {}), loads.obtain(spec("idle"), {})
    held.hold("somebody")
    await idle.ready()
    loads.obtain(spec("third"), {}).hold("somebody")
    await turns()
    assert shop.backends[0].closed.is_set()
    with pytest.raises(Busy, match="2 things are loaded"):
        loads.obtain(spec("fourth"), {})
    assert loads.obtain(spec("held"), {}) is held


async def test_a_key_is_hidden_for_as_long_as_something_is_loaded_with_it(shop):
    redactor = Redactor()
    limits = LoadLimits(2, 100, 100, 0, LIMIT, 64)
    loads = Loads(shop.open, limits, redactor)
    keyed = spec(settings={"api_key": Setting(secret=True)})
    loaded = loads.obtain(keyed, {"api_key": "sk-canary"})
    loads.obtain(keyed, {"api_key": "sk-canary"}).hold("somebody")
    assert redactor.clean("sk-canary") == "***"
    loaded.drop("somebody")
    async with asyncio.timeout(LIMIT):
        while redactor.clean("sk-canary") == "***":
            await asyncio.sleep(0)


# Loading that fails


async def test_a_failed_load_is_tried_again_by_the_next(loads, shop):
    shop.errors = [Authorization("no")]
    loaded = loads.obtain(spec(), {})
    with pytest.raises(Authorization):
        await loaded.ready()
    assert (loaded.state, loaded.backend) == ("failed", None)
    assert shop.backends[0].closed.is_set()
    assert await loaded.ready() is shop.backends[1]


async def test_everyone_who_waits_hears_why_it_failed(loads, shop):
    shop.errors = [Authorization("no")]
    loaded = loads.obtain(spec(), {})
    failures = await asyncio.gather(loaded.ready(), loaded.ready(), return_exceptions=True)
    assert [type(each) for each in failures] == [Authorization] * 2


async def test_a_load_that_takes_too_long_fails_and_is_closed(make, shop):
    shop.gate.clear()
    with pytest.raises(Timeout, match="did not load within 0 s"):
        await make(load_seconds=0).obtain(spec(), {}).ready()
    assert shop.backends[0].closed.is_set()


async def test_a_load_that_nobody_waits_for_ends_and_a_later_one_is_fresh(loads, shop):
    shop.gate.clear()
    loaded = loads.obtain(spec(), {})
    loaded.hold("first")
    waiting = asyncio.create_task(loaded.ready())
    abandoned = await shop.entered()
    loaded.drop("first")
    loaded.hold("second")
    shop.gate.set()
    backend = await loaded.ready()
    assert (abandoned.closed.is_set(), backend is shop.backends[1]) == (True, True)
    with pytest.raises(Unavailable, match="given up"):
        await waiting


async def test_a_load_goes_on_while_somebody_holds_it(loads, shop):
    shop.gate.clear()
    loaded = loads.obtain(spec(), {})
    loaded.hold("stays")
    loaded.hold("leaves")
    waiting = asyncio.create_task(loaded.ready())
    await shop.entered()
    loaded.drop("leaves")
    shop.gate.set()
    assert await waiting is shop.backends[0]
    assert not shop.backends[0].closed.is_set()


async def test_one_who_gives_up_waiting_does_not_end_the_load_of_the_others(loads, shop):
    shop.gate.clear()
    loaded = loads.obtain(spec(), {})
    leaves, stays = (asyncio.create_task(loaded.ready()) for _ in range(2))
    await shop.entered()
    leaves.cancel()
    shop.gate.set()
    assert await stays is shop.backends[0]
    assert leaves.cancelled()
