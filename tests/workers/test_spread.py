"""A provider in two places."""

from __future__ import annotations

import asyncio
from typing import Any

from test_sent import Heard

from waifu_llm.backend import Request
from waifu_llm.conversation import Message, Params
from waifu_llm.workers.spread import Spread


class Running:
    def __init__(self) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.interrupted = False

    def interrupt(self) -> None:
        self.interrupted = True


class Backend:
    alive, ended = True, False

    def __init__(self) -> None:
        self.started: list[Running] = []

    def generate(self, request: Request, sink: Any) -> Running:
        self.started.append(Running())
        return self.started[-1]


def ask(spread: Spread, model: str = "m") -> Any:
    request = Request([Message("user", "hi")], Params(model_id=model), True)
    return spread.generate(request, Heard())


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_what_is_too_much_for_here_goes_to_the_workers() -> None:
    here, far = Backend(), Backend()
    spread = Spread(here, far, 1, lambda model: "here first")
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
    spread = Spread(here, far, 1, lambda model: "here")
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
    spread = Spread(here, Backend(), 1, lambda model: "here")
    first, second = ask(spread), ask(spread)
    await turn()
    second.interrupt()
    await second.over
    first.interrupt()
    assert here.started[0].interrupted
    assert len(here.started) == 1


async def test_a_model_says_where_it_runs() -> None:
    here, far = Backend(), Backend()
    spread = Spread(here, far, 1, lambda model: "workers" if model == "big" else "here")
    ask(spread, "big")
    ask(spread, "small")
    await turn()
    assert (len(here.started), len(far.started)) == (1, 1)
