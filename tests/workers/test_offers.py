"""What a worker offers: of what it was told to, that which is there."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from waifu_llm.errors import Authorization
from waifu_llm.workers.offers import Offers
from waifu_llm.workers.roll import Offer


class Machine:
    """An engine, as far as offers go."""

    def __init__(self, *models: str) -> None:
        self.there = list(models)
        self.has_key = True
        self.stored = SimpleNamespace(settings=self._settings)

    def find(self, provider: str) -> Any:
        return SimpleNamespace(name=provider, kind="cloud" if provider == "openai" else "local")

    def concurrency(self, spec: Any) -> int:
        return 4

    def enter(self, *, client: bool) -> Any:
        async def nothing(*_: object) -> None: ...
        async def models(provider: str) -> list[str]:
            return self.there

        return SimpleNamespace(holdings=SimpleNamespace(load=nothing, models=models))

    def leave(self, guest: Any) -> None: ...

    async def _settings(self, spec: Any) -> dict[str, str]:
        if not self.has_key:
            raise Authorization("No key is stored.")
        return {}


def offers(machine: Machine, *asked: str) -> Offers:
    return Offers(machine, asked, 0)  # type: ignore[arg-type]


async def test_all_models_that_are_there_are_offered_where_none_is_named() -> None:
    assert await offers(Machine("a", "b"), "p").look() == {"p": Offer(["a", "b"], 4)}


async def test_a_named_model_that_is_not_there_is_not_offered_until_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine = Machine("a")
    found = offers(machine, "p/a", "p/late")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert await found.look() == {"p": Offer(["a"], 4)}
    assert [each.message for each in caplog.records] == [
        "p/late is not offered now: There is a here."
    ]
    machine.there.append("late")
    assert await found.look() == {"p": Offer(["a", "late"], 4)}


async def test_a_name_without_a_tag_means_the_latest() -> None:
    assert await offers(Machine("llama:latest"), "p/llama").look() == {"p": Offer(["llama"], 4)}


async def test_who_has_no_key_offers_none_of_its_models(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    found = offers(machine, "openai/gpt")
    assert await found.look() == {"openai": Offer(["gpt"], 4)}
    machine.has_key = False
    with caplog.at_level(logging.WARNING):
        assert await found.look() == {}
    assert "openai is not offered now: No key is stored." in caplog.text
