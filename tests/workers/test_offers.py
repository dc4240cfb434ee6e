"""What a worker offers: of what it was told to, that which is there."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from support import LIMIT

from waifu_llm.errors import Authorization, Unavailable
from waifu_llm.workers.offers import Offers
from waifu_llm.workers.roll import Offer


class Machine:
    """An engine, as far as offers go."""

    def __init__(self, *models: str) -> None:
        self.there = list(models)
        self.has_key = True
        self.is_slow = False
        self.loads = 0
        self.stored = SimpleNamespace(settings=self._settings)

    def find(self, provider: str) -> Any:
        return SimpleNamespace(name=provider, kind="cloud" if provider == "openai" else "local")

    def concurrency(self, spec: Any) -> int:
        return 4

    def enter(self, *, client: bool) -> Any:
        async def load(*_: object) -> None:
            self.loads += 1
            try:
                await asyncio.sleep(LIMIT if self.is_slow else 0)
            except asyncio.CancelledError:
                raise Unavailable("The load was given up.") from None

        async def models(provider: str) -> list[str]:
            return self.there

        return SimpleNamespace(holdings=SimpleNamespace(load=load, models=models))

    def leave(self, guest: Any) -> None: ...

    async def _settings(self, spec: Any) -> dict[str, str]:
        if not self.has_key:
            raise Authorization("No key is stored.")
        return {}


def offers(machine: Machine, *asked: str) -> Offers:
    return Offers(machine, asked, 0)  # type: ignore[arg-type]


async def test_all_models_that_are_there_are_offered_where_none_is_named() -> None:
    assert await offers(Machine("a", "b"), "p").look() == {"p": Offer(["a", "b"], 4)}


async def test_a_named_model_is_offered_and_told_of_once_where_it_is_not_listed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine = Machine("a", "llama:latest")
    found = offers(machine, "p/a", "p/late", "p/llama")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert await found.look() == {"p": Offer(["a", "late", "llama"], 4)}
        machine.there.append("late")
        await found.look()
    assert [each.message for each in caplog.records] == [
        "p/late is offered, and not listed here: a, llama:latest"
    ]


async def test_a_server_that_lists_nothing_is_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert await offers(Machine(), "p/a").look() == {"p": Offer(["a"], 4)}
    assert not caplog.records


async def test_a_look_that_is_cut_off_goes_on_with_nothing() -> None:
    machine = Machine()
    machine.is_slow = True
    looking = asyncio.create_task(offers(machine, "p", "q", "r").look())
    await asyncio.sleep(0)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert machine.loads == 1


async def test_who_has_no_key_offers_none_of_its_models(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    found = offers(machine, "openai/gpt")
    assert await found.look() == {"openai": Offer(["gpt"], 4)}
    machine.has_key = False
    with caplog.at_level(logging.WARNING):
        assert await found.look() == {}
    assert "openai is not offered now: No key is stored." in caplog.text
