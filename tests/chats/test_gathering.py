"""Small changes, written together: none is lost, none waits for nothing, none spoils another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from support import LIMIT

from waifu_llm.chats.gathering import Gathering
from waifu_llm.errors import Unavailable


class Writer:
    """Writes down what it is given, once it may. What is negative cannot be written."""

    def __init__(self) -> None:
        self.written: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def write(self, changes: Sequence[int]) -> None:
        await self.open.wait()
        if any(each < 0 for each in changes):
            raise ValueError(f"{changes}")
        self.written.append(list(changes))


@pytest.fixture
async def writer() -> Writer:
    return Writer()


async def test_who_comes_alone_is_written_at_once(writer: Writer) -> None:
    gathering = Gathering(writer.write)
    for number in range(3):
        await gathering.put(number)
    assert writer.written == [[0], [1], [2]]


async def test_what_comes_meanwhile_goes_together_and_in_order(writer: Writer) -> None:
    gathering = Gathering(writer.write)
    writer.open.clear()
    putting = [asyncio.create_task(gathering.put(number)) for number in range(500)]
    await asyncio.sleep(0)
    assert not any(each.done() for each in putting)
    writer.open.set()
    async with asyncio.timeout(LIMIT):
        await asyncio.gather(*putting)
    assert [number for some in writer.written for number in some] == list(range(500))
    assert len(writer.written) < 5


async def test_one_that_cannot_be_written_keeps_no_other_from_it(writer: Writer) -> None:
    gathering = Gathering(writer.write)
    putting = [asyncio.create_task(gathering.put(number)) for number in (1, 2, -3, 4)]
    outcomes = await asyncio.gather(*putting, return_exceptions=True)
    assert [type(each) for each in outcomes] == [type(None), type(None), ValueError, type(None)]
    assert sorted(number for some in writer.written for number in some) == [1, 2, 4]
    await gathering.put(5)


async def test_who_leaves_is_written_all_the_same(writer: Writer) -> None:
    gathering = Gathering(writer.write)
    writer.open.clear()
    leaving = [asyncio.create_task(gathering.put(number)) for number in (1, -2)]
    await asyncio.sleep(0)
    for each in leaving:
        each.cancel()
    writer.open.set()
    await gathering.put(3)
    assert sorted(number for some in writer.written for number in some) == [1, 3]


async def test_while_it_cannot_be_reached_all_hear_so_after_one_try() -> None:
    """To wait for it once more for each would take as many times as long."""
    tries = 0

    async def away(_: Sequence[int]) -> None:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0)
        raise Unavailable("It is away.")

    gathering = Gathering(away)
    putting = [asyncio.create_task(gathering.put(number)) for number in range(500)]
    outcomes = await asyncio.gather(*putting, return_exceptions=True)
    assert {type(each) for each in outcomes} == {Unavailable}
    assert tries == 1
    with pytest.raises(Unavailable):
        await gathering.put(501)
    assert tries == 2
