"""As many get in as the provider takes, in their order, and what died is replaced."""

from __future__ import annotations

import asyncio

import pytest
from loads_stage import User, spec, turns
from support import LIMIT

from waifu_llm.errors import Authorization, Overloaded, ProviderCrashed
from waifu_llm.restarts import Restarts


async def test_a_dead_backend_is_replaced_at_the_next_generation(loads, shop):
    loaded = loads.obtain(spec(), {})
    assert await User(loaded, [], "first").leave() is shop.backends[0]
    shop.backends[0].alive = False
    assert loaded.backend is None
    assert await User(loaded, [], "second").leave() is shop.backends[1]


async def test_what_dies_too_often_is_given_up_and_says_so(loads, shop):
    loaded = loads.obtain(spec(), {})
    loaded._restarts = Restarts(chance=lambda: -1.0)  # no pauses
    for _ in range(5):
        (await User(loaded, [], "user").leave()).alive = False
    for _ in range(3):
        with pytest.raises(ProviderCrashed, match="died 5 times"):
            await loaded.ready()
    assert (len(shop.backends), loaded.state) == (5, "crash_loop")


async def test_what_crashes_while_it_loads_is_given_up_too(loads, shop):
    loaded = loads.obtain(spec(), {})
    loaded._restarts = Restarts(chance=lambda: -1.0)
    shop.errors = [ProviderCrashed("gone")] * 5
    for _ in range(5):
        with pytest.raises(ProviderCrashed, match="gone"):
            await loaded.ready()
    with pytest.raises(ProviderCrashed, match="died 5 times"):
        await loaded.ready()


async def test_a_wrong_key_is_no_death(loads, shop):
    loaded = loads.obtain(spec(), {})
    shop.errors = [Authorization("no")] * 9
    for _ in range(9):
        with pytest.raises(Authorization):
            await loaded.ready()
    assert await loaded.ready() is shop.backends[9]


async def test_what_ended_is_not_kept(loads, shop):
    loaded = loads.obtain(spec(), {})
    for _ in range(3):
        backend = await User(loaded, [], "user").leave()
        backend.alive, backend.ended = False, True
    assert loaded._backends == [backend]


async def test_a_backend_that_died_while_one_waited_is_replaced(loads, shop):
    loaded = loads.obtain(spec(concurrency=1), {})
    first, second = User(loaded, log := [], 1), User(loaded, log, 2)
    await turns()
    shop.backends[0].alive = False
    await first.leave()
    assert await second.leave() is shop.backends[1]


@pytest.mark.parametrize(
    ("declared", "places"),
    [({"concurrency": 3}, 3), ({"kind": "local"}, 1), ({"kind": "cloud"}, 2)],
)
async def test_as_many_get_in_as_the_provider_takes(loads, declared, places):
    loaded = loads.obtain(spec(**declared), {})
    users = [User(loaded, log := [], 0), *(User(loaded, log, name) for name in range(1, 5))]
    await turns()
    assert log == list(range(places))
    assert loads.waiting == loaded.status()["waiting"] == 5 - places
    for user in users:
        await user.leave()


async def test_who_came_first_gets_in_first(loads):
    loaded = loads.obtain(spec(concurrency=1), {})
    log: list[int] = []
    users = [User(loaded, log, name) for name in range(6)]
    for user in users:
        await user.leave()
    assert (log, loads.waiting) == (list(range(6)), 0)


async def test_who_comes_late_does_not_overtake(loads):
    loaded = loads.obtain(spec(concurrency=1), {})
    first, second = User(loaded, log := [], "first"), User(loaded, log, "second")
    await turns()
    leaving = asyncio.create_task(first.leave())
    late = User(loaded, log, "late")
    await leaving
    await second.leave()
    await late.leave()
    assert log == ["first", "second", "late"]


async def test_who_gives_up_leaves_the_line(loads):
    loaded = loads.obtain(spec(concurrency=1), {})
    first, gives_up, last = (User(loaded, log, name) for log in [[]] for name in "abc")
    await turns()
    await gives_up.give_up()
    assert loads.waiting == 1
    await first.leave()
    await last.leave()
    assert loads.waiting == 0


async def test_a_place_is_free_again_after_an_error(loads):
    loaded = loads.obtain(spec(concurrency=1), {})
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with loaded.place():
                raise ZeroDivisionError
    async with asyncio.timeout(LIMIT), loaded.place():
        pass


async def test_one_thing_takes_only_so_many_who_wait(make):
    loads = make(max_waiting_each=1)
    loaded, other = loads.obtain(spec("one", concurrency=1), {}), loads.obtain(spec("two"), {})
    await loaded.ready()
    users = [User(loaded, log := [], 1), User(loaded, log, 2)]
    await turns()
    with pytest.raises(Overloaded, match="Try again") as caught:
        await User(loaded, log, 3).leave()
    assert caught.value.retry_after_ms > 0
    await User(other, log, 4).leave()
    for user in users:
        await user.leave()
    await User(loaded, log, 5).leave()
    assert log == [1, 4, 2, 5]


async def test_all_things_together_take_only_so_many_who_wait(make):
    loads = make(max_waiting=1)
    one, other = (loads.obtain(spec(name, concurrency=1), {}) for name in ("one", "two"))
    await asyncio.gather(one.ready(), other.ready())
    users = [User(one, log := [], 1), User(one, log, 2), User(other, log, 3)]
    await turns()
    with pytest.raises(Overloaded):
        await User(other, log, 4).leave()
    for user in users:
        await user.leave()
    assert (log, loads.waiting) == ([1, 3, 2], 0)


async def test_who_waits_for_a_load_waits_in_line_too(make, shop):
    shop.gate.clear()
    loaded = make(max_waiting_each=1).obtain(spec(), {})
    first = User(loaded, log := [], 1)
    await shop.entered()
    with pytest.raises(Overloaded):
        await User(loaded, log, 2).leave()
    shop.gate.set()
    await first.leave()
    assert log == [1]


async def test_a_failed_load_frees_the_line(loads, shop):
    shop.errors = [Authorization("no")]
    loaded = loads.obtain(spec(concurrency=1), {})
    with pytest.raises(Authorization):
        await User(loaded, [], 1).leave()
    assert loads.waiting == 0
    await User(loaded, [], 2).leave()
