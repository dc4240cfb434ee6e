"""First come, first served, for each sender by itself."""

from __future__ import annotations

import asyncio

from waifu_llm.turns import Turns


async def test_one_sender_is_served_in_its_order_whatever_takes_long() -> None:
    turns, done = Turns(), list[int]()

    async def one(number: int, takes: int) -> None:
        async with turns.turn("a"):
            for _ in range(takes):
                await asyncio.sleep(0)
            done.append(number)

    await asyncio.gather(*(one(number, 10 - number) for number in range(10)))
    assert done == list(range(10))


async def test_senders_do_not_wait_for_each_other() -> None:
    turns, other_is_done = Turns(), asyncio.Event()

    async def slow() -> None:
        async with turns.turn("a"):
            await other_is_done.wait()

    async def quick() -> None:
        async with turns.turn("b"):
            other_is_done.set()

    async with asyncio.timeout(5):
        await asyncio.gather(slow(), quick())


async def test_so_many_go_on_at_a_time_and_the_others_in_their_order() -> None:
    turns, go_on, began = Turns(at_once=2), asyncio.Event(), list[int]()

    async def one(number: int) -> None:
        async with turns.turn("a"):
            began.append(number)
            await go_on.wait()

    all_of_them = [asyncio.create_task(one(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert began == [0, 1]
    go_on.set()
    await asyncio.gather(*all_of_them)
    assert began == list(range(5))


async def test_who_gives_up_holds_nobody_up() -> None:
    turns, entered = Turns(), list[str]()

    async def enter(name: str) -> None:
        async with turns.turn("a"):
            entered.append(name)
            await asyncio.sleep(0)

    async with turns.turn("a"):
        waiting = [asyncio.create_task(enter(name)) for name in ("first", "second")]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.wait([waiting[0]])
        assert entered == []
    await waiting[1]
    assert entered == ["second"]


async def test_nothing_is_kept_of_who_is_gone() -> None:
    turns = Turns()
    for sender in map(str, range(100)):
        async with turns.turn(sender):
            pass
    assert len(turns) == 0
