"""What nobody holds is freed, and close frees all."""

from __future__ import annotations

import asyncio

import pytest
from loads_stage import spec, turns
from support import LIMIT

from waifu_llm.errors import Unavailable


async def test_what_nobody_holds_is_freed_after_its_idle_time(make):
    loads = make(idle_seconds=0)
    loaded = loads.obtain(spec(), {})
    loaded.hold("one")
    backend = await loaded.ready()
    loaded.drop("one")
    async with asyncio.timeout(LIMIT):
        await backend.closed.wait()
    assert (loads.status(), loads.obtain(spec(), {}) is loaded) == ([], False)


async def test_what_is_held_again_in_time_is_kept(make):
    loads = make(idle_seconds=0)
    loaded = loads.obtain(spec(), {})
    loaded.hold("one")
    backend = await loaded.ready()
    loaded.drop("one")
    loaded.hold("another")
    await turns()
    assert not backend.closed.is_set()
    assert loads.obtain(spec(), {}) is loaded


async def test_what_another_holds_is_kept(make):
    loads = make(idle_seconds=0)
    loaded = loads.obtain(spec(), {})
    loaded.hold("one")
    loaded.hold("another")
    backend = await loaded.ready()
    loaded.drop("one")
    await turns()
    assert (loaded.state, backend.closed.is_set()) == ("ready", False)


async def test_close_frees_all_and_ends_what_still_loads(loads, shop):
    await asyncio.gather(*(loads.obtain(spec(), {"n": n}).ready() for n in range(3)))
    shop.gate.clear()
    shop.opened.clear()
    loading = asyncio.create_task(loads.obtain(spec("slow"), {}).ready())
    await shop.entered()
    await loads.close()
    assert [each.closed.is_set() for each in shop.backends] == [True] * 4
    with pytest.raises(Unavailable, match="given up"):
        await loading
    assert loads.status() == []


async def test_close_waits_for_what_is_being_freed(make):
    loads = make(idle_seconds=0)
    loaded = loads.obtain(spec(), {})
    backend = await loaded.ready()
    loads._free(loaded)
    await loads.close()
    assert backend.closed.is_set()


async def test_close_frees_also_what_was_replaced_before_it_ended(loads, shop):
    loaded = loads.obtain(spec(), {})
    retired = await loaded.ready()
    retired.alive = False
    await loaded.ready()
    await loads.close()
    assert retired.closed.is_set()


async def test_status_tells_what_an_operator_wants_to_see(loads):
    loaded = loads.obtain(spec(concurrency=4), {"api_key": "secret"})
    loaded.hold("one")
    assert loads.status()[0]["state"] == "new"
    await loaded.ready("m")
    (status,) = loads.status()
    assert status == {
        "provider": "fake",
        "kind": "cloud",
        "state": "ready",
        "models": 1,
        "models_asked": ["m"],
        "holders": 1,
        "waiting": 0,
        "concurrency": 4,
        "pid": 7,
    }


async def test_a_process_that_is_new_was_asked_for_no_model(loads):
    loaded = loads.obtain(spec(), {})
    (await loaded.ready("m")).alive = False
    await loaded.ready()
    assert loads.status()[0]["models_asked"] == []
