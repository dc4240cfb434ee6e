"""What takes long: kept before it is begun, and until its answer has arrived."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from fake_instructions import FakeInstructions
from support import until

from waifu_llm.doors import backlog
from waifu_llm.doors.backlog import Backlog
from waifu_llm.doors.errands import Errand, Kept, Letter, read
from waifu_llm.tasks import Tasks


class Postman:
    """Brings answers, as long as nothing keeps it from that."""

    def __init__(self) -> None:
        self.brought: list[tuple[str | None, Any]] = []
        self.way_is_free = asyncio.Event()
        self.way_is_free.set()

    async def __call__(self, kept: Kept, answer: Mapping[str, Any]) -> None:
        await self.way_is_free.wait()
        address = kept.address
        self.brought.append((address.queue if address else None, answer["data"] or None))


@pytest.fixture
def instructions() -> FakeInstructions:
    return FakeInstructions()


@pytest.fixture
def postman() -> Postman:
    return Postman()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "FIRST_PAUSE", 0.01)


def errand(number: int, queue: str = "r", **more: Any) -> Errand:
    body = json.dumps({"type": "LONG", "data": number, **more}).encode()
    return read(Letter(body, f"{number:032}", None, queue), 1000)


async def test_it_is_carried_out_brought_and_forgotten(
    instructions: FakeInstructions, postman: Postman
) -> None:
    await Backlog(instructions, postman, 4).add(errand(1))
    await until(lambda: postman.brought and not instructions.inbox)
    assert postman.brought == [("r", 1)]
    assert instructions.done == [1]


async def test_it_is_kept_before_it_is_begun_and_until_the_answer_has_arrived(
    instructions: FakeInstructions, postman: Postman
) -> None:
    instructions.go_on.clear()
    postman.way_is_free.clear()
    await Backlog(instructions, postman, 4).add(errand(1))
    assert len(instructions.inbox) == 1
    assert instructions.done == []
    instructions.go_on.set()
    await until(lambda: instructions.done)
    assert len(instructions.inbox) == 1
    postman.way_is_free.set()
    await until(lambda: not instructions.inbox)


async def test_one_that_comes_again_meanwhile_is_not_begun_again(
    instructions: FakeInstructions, postman: Postman
) -> None:
    instructions.go_on.clear()
    waiting = Backlog(instructions, postman, 4)
    for _ in range(3):
        await waiting.add(errand(1))
    await waiting.resume()
    await until(lambda: instructions.running)
    instructions.go_on.set()
    await until(lambda: not instructions.inbox)
    assert postman.brought == [("r", 1)]
    assert instructions.most_running == 1


async def test_all_who_wait_for_the_same_are_answered(
    instructions: FakeInstructions, postman: Postman
) -> None:
    waiting = Backlog(instructions, postman, 1)
    await waiting.add(errand(1, "one"))
    await waiting.add(errand(1, "other"))
    await until(lambda: not instructions.inbox)
    assert postman.brought == [("one", 1), ("other", 1)]
    assert instructions.done == [1]


async def test_what_an_earlier_process_accepted_goes_on(
    instructions: FakeInstructions, postman: Postman
) -> None:
    instructions.go_on.clear()
    before = Backlog(instructions, postman, 4)
    for number in range(5):
        await before.add(errand(number))
    await before.stop()
    assert len(instructions.inbox) == 5
    instructions.go_on.set()
    await Backlog(instructions, postman, 4).resume()
    await until(lambda: not instructions.inbox)
    assert sorted(instructions.done) == [0, 1, 2, 3, 4]


async def test_so_many_run_at_a_time_and_no_more(
    instructions: FakeInstructions, postman: Postman
) -> None:
    instructions.go_on.clear()
    waiting = Backlog(instructions, postman, 3)
    for number in range(10):
        await waiting.add(errand(number))
    await until(lambda: instructions.running == 3)
    instructions.go_on.set()
    await until(lambda: not instructions.inbox)
    assert instructions.most_running == 3
    assert sorted(instructions.done) == list(range(10))


async def test_more_than_is_kept_at_hand_is_done_all_the_same(
    instructions: FakeInstructions, postman: Postman, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "AT_HAND", 5)
    instructions.go_on.clear()
    waiting = Backlog(instructions, postman, 2)
    for number in range(40):
        await waiting.add(errand(number))
    assert len(waiting) <= 2 + 5
    instructions.go_on.set()
    await until(lambda: not instructions.inbox)
    assert sorted(instructions.done) == list(range(40))


async def test_a_store_that_is_away_is_waited_for(
    instructions: FakeInstructions, postman: Postman
) -> None:
    waiting = Backlog(instructions, postman, 2)
    instructions.away = 2
    await waiting.add(errand(1))
    instructions.away = 2
    await until(lambda: not instructions.inbox)
    assert postman.brought == [("r", 1)]


async def test_a_fault_is_an_answer_and_stops_nothing(
    instructions: FakeInstructions, postman: Postman
) -> None:
    waiting = Backlog(instructions, postman, 1)
    await waiting.add(read(Letter(b'{"type":"FAULT"}', None, "c", "r"), 1000))
    await waiting.add(errand(1))
    await until(lambda: not instructions.inbox)
    assert postman.brought == [("r", None), ("r", 1)]


async def test_what_nobody_waits_for_is_done(
    instructions: FakeInstructions, postman: Postman
) -> None:
    await Backlog(instructions, postman, 1).add(read(Letter(b'{"type":"LONG","data":7}'), 1000))
    await until(lambda: not instructions.inbox)
    assert instructions.done == [7]
    assert postman.brought == [(None, 7)]


async def test_adding_many_at_once_keeps_their_order(
    instructions: FakeInstructions, postman: Postman
) -> None:
    waiting, tasks = Backlog(instructions, postman, 1), Tasks()
    for number in range(20):
        tasks.start(waiting.add(errand(number)))
    await until(lambda: len(instructions.done) == 20 and not instructions.inbox)
    assert instructions.done == list(range(20))


# Who waits for whom


async def test_what_waits_for_its_chat_keeps_no_place_from_others(
    instructions: FakeInstructions, postman: Postman
) -> None:
    instructions.go_on.clear()
    waiting = Backlog(instructions, postman, 2)
    for number in range(10):
        await waiting.add(errand(number, chat=1))
    await waiting.add(errand(77, chat=2))
    await until(lambda: instructions.running == 2)
    instructions.go_on.set()
    await until(lambda: not instructions.inbox)
    assert [each for each in instructions.done if each != 77] == list(range(10))


async def test_a_slow_provider_keeps_no_place_from_others(
    instructions: FakeInstructions, postman: Postman
) -> None:
    instructions.go_on.clear()
    waiting = Backlog(instructions, postman, 2)
    for number in range(10):
        await waiting.add(errand(number, asked="slow"))
    for number in range(10, 20):
        await waiting.add(errand(number, asked="quick", type="T"))
    await until(lambda: len(instructions.done) == 10)
    assert instructions.running == 2
    instructions.go_on.set()
    await until(lambda: not instructions.inbox)


async def test_what_is_not_at_hand_does_not_wait_for_the_slowest(
    instructions: FakeInstructions, postman: Postman, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "AT_HAND", 4)
    instructions.go_on.clear()
    waiting = Backlog(instructions, postman, 4)
    await waiting.add(errand(77))
    for number in range(20):
        await waiting.add(errand(number, type="T"))
    await until(lambda: len(instructions.done) == 20)
    instructions.go_on.set()
    await until(lambda: not instructions.inbox)


async def test_what_comes_now_comes_after_what_is_in_the_inbox(
    instructions: FakeInstructions, postman: Postman
) -> None:
    """Also where it comes before anybody has looked there, or meanwhile."""
    instructions.go_on.clear()
    before = Backlog(instructions, postman, 1)
    for number in range(3):
        await before.add(errand(number, chat=1))
    await before.stop()
    instructions.on_its_way.clear()
    after, tasks = Backlog(instructions, postman, 1), Tasks()
    tasks.start(after.add(errand(3, chat=1)))
    await until(lambda: len(instructions.inbox) == 4)
    tasks.start(after.resume())
    tasks.start(after.add(errand(4, chat=1)))
    await until(lambda: len(instructions.inbox) == 5)
    instructions.on_its_way.set()
    instructions.go_on.set()
    await until(lambda: not instructions.inbox)
    assert instructions.done == list(range(5))


# As the inbox has it


async def test_one_that_ends_while_the_inbox_is_read_is_not_done_again(
    instructions: FakeInstructions, postman: Postman, caplog: pytest.LogCaptureFixture
) -> None:
    instructions.go_on.clear()
    waiting, tasks = Backlog(instructions, postman, 4), Tasks()
    await waiting.add(errand(1))
    await until(lambda: instructions.running)
    instructions.on_its_way.clear()
    tasks.start(waiting.resume())
    await asyncio.sleep(0)
    instructions.go_on.set()
    await until(lambda: not waiting)
    instructions.answers.clear()  # so that it would be done again
    instructions.on_its_way.set()
    await tasks.over()
    await until(lambda: not waiting)
    assert instructions.done == [1]
    assert postman.brought == [("r", 1)]
    assert caplog.records == []


async def test_one_that_comes_again_at_its_very_end_is_answered_again(
    instructions: FakeInstructions, postman: Postman
) -> None:
    instructions.is_told.clear()
    waiting = Backlog(instructions, postman, 4)
    await waiting.add(errand(1))
    await until(lambda: postman.brought and not instructions.inbox)
    await waiting.add(errand(1))
    assert len(instructions.inbox) == 1
    instructions.is_told.set()
    await until(lambda: not instructions.inbox and not waiting)
    assert postman.brought == [("r", 1)] * 2
    assert instructions.done == [1]


async def test_it_is_carried_out_as_the_inbox_has_it_when_its_turn_comes(
    instructions: FakeInstructions, postman: Postman
) -> None:
    """What a deleted user asked is emptied there."""
    instructions.go_on.clear()
    waiting = Backlog(instructions, postman, 4)
    for number in (1, 2):
        await waiting.add(errand(number, chat=1))
    await until(lambda: instructions.running)
    key, last = list(instructions.inbox.items())[-1]
    instructions.inbox[key] = last._replace(instruction={"type": "LONG", "data": "(deleted)"})
    instructions.go_on.set()
    await until(lambda: not instructions.inbox)
    assert instructions.done == [1, "(deleted)"]


async def test_a_fault_while_the_inbox_is_read_leaves_nothing_lying_there(
    instructions: FakeInstructions, postman: Postman, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "LONGEST_PAUSE", 0.01)
    kept = errand(1).kept()
    await instructions.accept(kept.instruction, kept.key, kept.reply)
    look = instructions.unanswered

    async def fail_once(*asked: Any) -> Any:
        monkeypatch.setattr(instructions, "unanswered", look)
        raise RuntimeError("a fault")

    monkeypatch.setattr(instructions, "unanswered", fail_once)
    after = Tasks()
    after.start(Backlog(instructions, postman, 4).resume())
    await until(lambda: postman.brought == [("r", 1)])
