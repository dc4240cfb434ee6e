"""What is kept of jobs where there is no store: the latest, and not more than fits."""

from __future__ import annotations

import pytest

from waifu_llm.jobs import store
from waifu_llm.jobs.store import Memory


async def kept(memory: Memory, ids: str) -> str:
    return "".join([id for id in ids if await memory.find(id)])


async def test_so_many_are_kept() -> None:
    memory = Memory(2)
    for id in "abc":
        await memory.ended(id, "done", "text", "", 1.0)
    assert await kept(memory, "abc") == "bc"


async def test_so_much_text_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_KEPT", 100)
    memory = Memory(1000)
    for id in "abc":
        await memory.ended(id, "failed", "t" * 30, "m" * 15, 1.0)
    assert await kept(memory, "abc") == "bc"
    await memory.ended("d", "done", "t" * 101, "", 1.0)
    assert await kept(memory, "abcd") == ""
    await memory.ended("e", "done", "t" * 100, "", 1.0)
    assert await kept(memory, "e") == "e"


async def test_what_is_over_for_long_is_forgotten() -> None:
    memory = Memory(1000)
    for when, id in enumerate("abc"):
        await memory.ended(id, "done", "text", "", float(when))
    await memory.forget_before(1.5)
    assert await kept(memory, "abc") == "c"
    assert await memory.unfinished() == []
