"""A provider in two places."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from test_sent import Heard

from waifu_llm.backend import Request
from waifu_llm.conversation import Message, Params
from waifu_llm.errors import OutOfMemory
from waifu_llm.workers.spread import Plan, Spread


class Running:
    def __init__(self) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.interrupted = False

    def interrupt(self) -> None:
        self.interrupted = True


class Backend:
    alive, ended = True, False

    def __init__(self, *models: str, broken: bool = False) -> None:
        self.there = list(models)
        self.broken = broken
        self.started: list[Running] = []
        self.preloaded: list[str] = []
        self.pulled: list[str] = []

    async def load(self, settings: Any, model_id: str | None, progress: Any) -> list[str]:
        if self.broken:
            raise OutOfMemory("It does not fit.")
        return self.there

    async def models(self) -> list[str]:
        return self.there

    async def pull(self, model_id: str, progress: Any) -> None:
        self.pulled.append(model_id)
        self.there.append(model_id)

    async def preload(self, model_id: str) -> None:
        self.preloaded.append(model_id)

    def generate(self, request: Request, sink: Any) -> Running:
        self.started.append(Running())
        return self.started[-1]


def spread_over(here: Backend, far: Backend, at: Any, places: int = 1) -> Spread:
    plan = Plan(lambda model: at, lambda: far.there, some_stay=at == "here")
    return Spread(here, far, places, plan)  # type: ignore[arg-type]


def ask(spread: Spread, model: str = "m", urgency: Any = "live") -> Any:
    messages = [Message("user", "hi")]
    request = Request(messages, Params(model_id=model), True, urgency=urgency)
    return spread.generate(request, Heard())


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_what_is_too_much_for_here_goes_to_the_workers() -> None:
    here, far = Backend(), Backend()
    spread = spread_over(here, far, "here first")
    ask(spread)
    ask(spread)  # at once: the first has not begun yet
    await turn()
    assert (len(here.started), len(far.started)) == (1, 1)
    here.started[0].over.set_result(None)
    await turn()
    ask(spread)
    await turn()
    assert (len(here.started), len(far.started)) == (2, 1)


async def test_what_is_to_stay_here_waits_for_its_place() -> None:
    here, far = Backend(), Backend()
    spread = spread_over(here, far, "here")
    ask(spread)
    second = ask(spread)
    await turn()
    assert len(here.started) == 1
    here.started[0].over.set_result(None)
    await turn()
    assert len(here.started) == 2
    here.started[1].over.set_result(None)
    await second.over
    assert far.started == []


async def test_one_that_waits_here_can_be_interrupted() -> None:
    here = Backend()
    spread = spread_over(here, Backend(), "here")
    first, second = ask(spread), ask(spread)
    await turn()
    second.interrupt()
    await second.over
    first.interrupt()
    assert here.started[0].interrupted
    assert len(here.started) == 1


async def test_a_model_says_where_it_runs() -> None:
    here, far = Backend(), Backend()
    at = lambda model: "workers" if model == "big" else "here"  # noqa: E731
    spread = Spread(here, far, 1, Plan(at, list, some_stay=True))  # type: ignore[arg-type]
    ask(spread, "big")
    ask(spread, "small")
    await turn()
    assert (len(here.started), len(far.started)) == (1, 1)


async def test_what_only_workers_have_goes_to_them_though_here_is_room() -> None:
    here, far = Backend("small"), Backend("small", "big")
    spread = spread_over(here, far, "here first", places=9)
    assert await spread.load({}, "big", lambda *_: None) == ["small", "big"]
    assert (here.preloaded, far.preloaded) == ([], ["big"])
    ask(spread, "big")
    ask(spread, "small")
    await turn()
    assert (len(here.started), len(far.started)) == (1, 1)
    assert await spread.models() == ["small", "big"]


async def test_what_cannot_be_loaded_here_is_left_to_workers() -> None:
    here, far = Backend(broken=True), Backend("m")
    spread = spread_over(here, far, "here first")
    assert await spread.load({}, "m", lambda *_: None) == ["m"]
    here.alive = False
    assert spread.alive
    ask(spread)
    assert len(far.started) == 1
    assert await spread.models() == ["m"]


async def test_what_is_to_stay_here_and_cannot_be_loaded_is_said() -> None:
    spread = spread_over(Backend(broken=True), Backend("m"), "here")
    with pytest.raises(OutOfMemory):
        await spread.load({}, "m", lambda *_: None)


async def test_what_could_not_be_loaded_here_is_not_asked_here_when_workers_are_gone() -> None:
    here, far = Backend(broken=True), Backend("m")
    at = ["here first"]
    plan = Plan(lambda model: at[0], lambda: far.there, some_stay=False)  # type: ignore[arg-type, return-value]
    spread = Spread(here, far, 1, plan)  # type: ignore[arg-type]
    await spread.load({}, "m", lambda *_: None)
    at[0] = "here"  # as it is where no worker offers it
    ask(spread)
    assert (len(here.started), len(far.started)) == (0, 1)


async def test_where_one_model_is_to_stay_what_cannot_be_loaded_is_said() -> None:
    plan = Plan(lambda model: "here first", list, some_stay=True)
    spread = Spread(Backend(broken=True), Backend("m"), 1, plan)  # type: ignore[arg-type]
    with pytest.raises(OutOfMemory):
        await spread.load({}, "m", lambda *_: None)


async def test_a_model_is_fetched_to_here_though_workers_have_it_and_then_is_here() -> None:
    here, far = Backend("small"), Backend("big")
    spread = spread_over(here, far, "here first", places=9)
    await spread.load({}, None, lambda *_: None)
    await spread.pull("big", lambda *_: None)
    assert (here.pulled, far.pulled) == (["big"], [])
    ask(spread, "big")
    await turn()
    assert (len(here.started), len(far.started)) == (1, 0)


async def test_who_is_waited_for_comes_before_jobs_that_wait_here() -> None:
    here = Backend()
    spread = spread_over(here, Backend(), "here")
    ask(spread)
    jobs = [ask(spread, urgency="low") for _ in range(3)]
    live = ask(spread, urgency="live")
    await turn()
    jobs[0].interrupt()
    here.started[0].over.set_result(None)
    await turn()
    assert live._running is here.started[1]
    here.started[1].over.set_result(None)
    await turn()
    assert jobs[1]._running is here.started[2]
