"""Closing: one thing after the other, and all of it within one time."""

from __future__ import annotations

import asyncio

from support import LIMIT

from waifu_llm.closing import Deadline


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_all_that_never_close_share_one_time() -> None:
    """Were each given its own, four of them would need four times as long."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    closing = Deadline(0.5)
    for _ in range(4):
        await closing.close(for_ever(), for_ever())
    await closing.over()
    assert loop.time() - begun < 1.0
    assert asyncio.all_tasks() - {asyncio.current_task()} == {*closing._tasks}
    await asyncio.wait(closing._tasks)
    assert all(each.cancelled() for each in closing._tasks)


async def test_what_is_slow_goes_on_while_the_next_are_closed() -> None:
    said: list[str] = []
    gate = asyncio.Event()

    async def slow() -> None:
        await gate.wait()
        said.append("slow")

    async def quick() -> None:
        said.append("quick")
        gate.set()

    closing = Deadline(LIMIT)
    await closing.close(slow(), within=0.0)
    await closing.close(quick())
    await closing.over()
    assert said == ["quick", "slow"]


async def test_one_that_fails_keeps_no_other_from_closing(caplog) -> None:
    closed = asyncio.Event()

    async def fails() -> None:
        raise KeyError("a fault")

    async def closes() -> None:
        await asyncio.sleep(0)
        closed.set()

    closing = Deadline(LIMIT)
    await closing.close(fails(), closes())
    await closing.over()
    assert closed.is_set()
    assert "a fault" in caplog.text
