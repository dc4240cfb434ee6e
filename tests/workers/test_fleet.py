"""The module's side: what it learns from what workers say."""

from __future__ import annotations

from waifu_llm.workers.events import Event
from waifu_llm.workers.fleet import Fleet
from waifu_llm.workers.link import Link
from waifu_llm.workers.names import Names


async def test_a_worker_is_there_from_when_it_takes_something() -> None:
    """Redis may go away before the module looks for the next time."""
    link = Link("redis://127.0.0.1:1/0")
    fleet = Fleet(link, Names("waifu"), lease=2.0, most_waiting=1)
    assert not fleet.roll.is_there("w")
    fleet._give(Event("of nobody", "run", 1, taken="w"), {})
    assert fleet.roll.is_there("w")
    await fleet.close()
