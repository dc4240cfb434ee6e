"""Where a request is put, and what is heard of one that can be put nowhere."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from waifu_llm.errors import Unavailable
from waifu_llm.jobs.work import Source
from waifu_llm.workers import entrance
from waifu_llm.workers.entrance import Entrance
from waifu_llm.workers.events import Errand
from waifu_llm.workers.names import Names
from waifu_llm.workers.outages import Outages
from waifu_llm.workers.roll import Roll

NAMES = Names("waifu")


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(entrance, "_LOOKS_EVERY_SECONDS", 0.01)
    return SimpleNamespace(outages=Outages())


def entering(link: Any) -> asyncio.Task[str]:
    door = Entrance(link, NAMES, Roll(link, NAMES), 30.0, 10)
    errand = Errand("e", "m", "models", Source("echo"))
    return asyncio.create_task(door._route_of(errand))


async def test_while_redis_is_away_that_is_said_and_not_that_no_worker_is_there(
    link: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrance, "_AWAITED_SECONDS", 0.0)
    monkeypatch.setattr(entrance, "_AWAY_SECONDS", 0.1)
    link.outages.tell(OSError("it is out"))
    with pytest.raises(Unavailable, match="it is out"):
        await entering(link)


async def test_workers_are_awaited_from_when_redis_is_back(
    link: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrance, "_AWAITED_SECONDS", 0.2)
    link.outages.tell(OSError("it is out"))
    asked = entering(link)
    await asyncio.wait([asked], timeout=0.4)
    assert not asked.done()
    link.outages.tell(None)
    with pytest.raises(Unavailable, match=r"No worker offers `echo`\. None is there"):
        await asked
