"""Loaded things, over a backend that does what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest
from support import LIMIT

from waifu_llm.backend import Progress
from waifu_llm.errors import (
    Authorization,
    Busy,
    InvalidModel,
    Overloaded,
    ProviderCrashed,
    Timeout,
    Unavailable,
)
from waifu_llm.loads import Loaded, LoadLimits, Loads
from waifu_llm.redaction import Redactor
from waifu_llm.restarts import Restarts
from waifu_llm.specs import ProviderSpec, Setting


class FakeBackend:
    """Loads when its gate is open."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.alive = True
        self.ended = False
        self.entered = asyncio.Event()
        self.closed = asyncio.Event()

    async def load(self, settings: Mapping[str, Any], model_id: str | None, progress: Progress):
        self.entered.set()
        self.model_id = model_id
        await self._shop.gate.wait()
        progress("load", 1.0, "Loaded.")
        if self._shop.errors:
            raise self._shop.errors.pop()
        return ["model"]

    async def preload(self, model_id: str) -> None:
        self.model_id = model_id
        if self._shop.errors:
            raise self._shop.errors.pop()

    async def close(self) -> None:
        self.alive = False
        self.closed.set()

    def status(self) -> dict[str, Any]:
        return {"pid": 7}


class Shop:
    """Opens backends, and keeps them all."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.errors: list[Exception] = []
        self.backends: list[FakeBackend] = []
        self.opened = asyncio.Event()

    async def open(self, spec: ProviderSpec, settings: Mapping[str, Any], progress: Progress):
        self.backends.append(FakeBackend(self))
        self.opened.set()
        return self.backends[-1]

    async def entered(self) -> FakeBackend:
        """The backend that loads now."""
        async with asyncio.timeout(LIMIT):
            await self.opened.wait()
            await self.backends[-1].entered.wait()
        return self.backends[-1]


@pytest.fixture
async def shop() -> Shop:
    return Shop()


@pytest.fixture
def make(shop: Shop) -> Callable[..., Loads]:
    def make(**limits: Any) -> Loads:
        usual = {"cloud_concurrency": 2, "max_waiting": 100, "max_waiting_each": 100}
        times = {"idle_seconds": 3600, "load_seconds": LIMIT, "max_loaded": 64}
        return Loads(shop.open, LoadLimits(**{**usual, **times, **limits}), Redactor())

    return make


@pytest.fixture
def loads(make: Callable[..., Loads]) -> Loads:
    return make()


def spec(name: str = "fake", **declared: Any) -> ProviderSpec:
    return ProviderSpec(name=name, title="Fake", entry="provider:Fake", **declared)


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


class User:
    """Somebody who takes a place and stays until told to leave."""

    def __init__(self, loaded: Loaded, log: list[Any], name: Any) -> None:
        self._leave = asyncio.Event()
        self._task = asyncio.create_task(self._stay(loaded, log, name))

    async def _stay(self, loaded: Loaded, log: list[Any], name: Any) -> Any:
        async with loaded.place() as backend:
            log.append(name)
            await self._leave.wait()
        return backend

    async def leave(self) -> Any:
        self._leave.set()
        async with asyncio.timeout(LIMIT):
            return await self._task

    async def give_up(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


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


# Places


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


# Ends


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


async def test_of_the_models_that_were_asked_for_the_last_ones_are_remembered(loads):
    loaded = loads.obtain(spec(), {})
    for number in range(20):
        loaded.note_model(f"m{number}")
    loaded.note_model("m10")
    asked = loads.status()[0]["models_asked"]
    assert len(asked) == 16
    assert (asked[0], asked[-1], loaded.last_model) == ("m4", "m10", "m10")


async def test_a_process_that_is_new_was_asked_for_no_model(loads, shop):
    loaded = loads.obtain(spec(), {})
    (await loaded.ready("m")).alive = False
    await loaded.ready()
    assert loads.status()[0]["models_asked"] == []
