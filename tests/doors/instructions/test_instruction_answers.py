"""An instruction that a model answers: streamed, interrupted, kept or not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_instructions import FakeInstructions
from instruction_stage import Dial, endless, furnish, instruction, messages, question
from support import Module, Wire
from websockets.asyncio.client import connect

from waifu_llm.answers import Dialect
from waifu_llm.doors.instruction_messages import InstructionMessages
from waifu_llm.doors.replies import Replies
from waifu_llm.errors import Interrupted
from waifu_llm.protocol import Instruction


@pytest.mark.parametrize("stream", [True, False, None])
async def test_an_answer_is_streamed_where_that_is_asked_for(
    dial_keeper: Dial, stream: bool | None
) -> None:
    async with dial_keeper() as wire:
        room = await furnish(wire)
        await wire.send(question(room, "one two three", stream=stream))
        heard = await wire.until("instruction_done")
        kept = await messages(wire, room)
    answer = heard[-1]["data"]["llm_response"]
    assert answer["content"] == "one two three"
    said = [each["chunk"] for each in heard if each["type"] == "instruction_chunk"]
    assert "".join(said) == ("one two three" if stream else "")
    assert [(each["role"], each["content"]) for each in kept] == [
        ("user", "one two three"),
        ("assistant", "one two three"),
    ]


@pytest.mark.parametrize("target", ["i", None])
async def test_an_interrupt_stops_it_and_nothing_is_kept(
    dial_keeper: Dial, target: str | None
) -> None:
    async with dial_keeper() as wire:
        room = await furnish(wire)
        await wire.send(endless(room))
        await wire.until("instruction_chunk")
        stop = {"type": "interrupt", "unique_request_id": "x"}
        await wire.send(stop if target is None else {**stop, "target": target})
        ack = (await wire.until("interrupt_ack"))[-1]
        final = await wire.receive()
        assert ack["interrupted"] == ["i"]
        assert (final["type"], final["error"]) == ("instruction_done", "INTERRUPT")
        assert (final["status"], final["data"]) == ("error", {})
        await wire.status_until(lambda status: status["generations"] == 0)
        assert await messages(wire, room) == []


async def test_an_interrupt_of_a_session_leaves_it_alone(dial_keeper: Dial) -> None:
    async with dial_keeper() as wire:
        room = await furnish(wire)
        await wire.send(endless(room))
        await wire.until("instruction_chunk")
        await wire.send({"type": "interrupt", "unique_request_id": "x", "session": "stage"})
        assert (await wire.until("interrupt_ack"))[-1]["interrupted"] == []
        await wire.until("instruction_chunk")


async def test_one_that_was_sent_and_interrupted_at_once_is_answered(dial_keeper: Dial) -> None:
    async with dial_keeper() as wire:
        room = await furnish(wire)
        for _ in range(20):
            await wire.send(endless(room))
            await wire.send({"type": "interrupt", "unique_request_id": "x", "target": "i"})
            heard = await wire.until("instruction_done")
            assert heard[-1]["error"] == "INTERRUPT"
            after_ack = [each["type"] for each in heard][
                [each["type"] for each in heard].index("interrupt_ack") :
            ]
            assert after_ack == ["interrupt_ack", "instruction_done"]
        assert await messages(wire, room) == []


async def test_an_id_that_is_still_under_way_is_refused_and_the_first_goes_on(
    dial_keeper: Dial,
) -> None:
    async with dial_keeper() as wire:
        room = await furnish(wire)
        await wire.send(endless(room))
        await wire.until("instruction_chunk")
        await wire.send(instruction("USER_LIST"))
        refused = (await wire.until("error"))[-1]
        assert (refused["unique_request_id"], refused["error"]) == ("i", 9)
        await wire.until("instruction_chunk")
        await wire.send({"type": "interrupt", "unique_request_id": "x"})
        assert (await wire.until("instruction_done"))[-1]["error"] == "INTERRUPT"
        assert (await wire.ask(instruction("USER_LIST")))["status"] == "success"


async def test_an_id_is_in_use_whoever_has_it(dial_keeper: Dial) -> None:
    async with dial_keeper() as wire:
        room = await furnish(wire)
        await wire.send(endless(room))
        await wire.until("instruction_chunk")
        talking = {"type": "generate", "unique_request_id": "i", "stream": True}
        talking["messages"] = [{"role": "user", "content": "go"}]
        await wire.send(talking)
        refused = (await wire.until("error"))[-1]
        assert (refused["unique_request_id"], refused["error"]) == ("i", 9)
        await wire.send({"type": "interrupt", "unique_request_id": "x"})
        assert (await wire.until("instruction_done"))[-1]["error"] == "INTERRUPT"
        await wire.load()
        params = {"model_id": "count", "max_output_length": 100_000, "extra": {"delay_ms": 20}}
        await wire.send({**talking, "params": params})
        await wire.until("generate_stream_chunk")
        await wire.send(instruction("USER_LIST"))
        assert (await wire.until("error"))[-1]["unique_request_id"] == "i"
        await wire.send({"type": "interrupt", "unique_request_id": "x"})
        assert (await wire.until("generate_stream_done"))[-1]["error"] == "INTERRUPT"
        assert (await wire.ask(instruction("USER_LIST")))["status"] == "success"


async def test_a_connection_that_is_lost_stops_it_and_nothing_is_kept(dial_keeper: Dial) -> None:
    async with dial_keeper() as other:
        async with dial_keeper() as wire:
            room = await furnish(wire)
            await wire.send(endless(room))
            await wire.until("instruction_chunk")
        await other.status_until(lambda status: status["generations"] == 0)
        assert await messages(other, room) == []


async def test_what_goes_wrong_with_a_model_is_said_by_its_code(dial_keeper: Dial) -> None:
    async with dial_keeper() as wire:
        room = await furnish(wire)
        params = {"extra": {"error": "RATE_LIMITED"}}
        answer = await wire.ask(question(room, params=params))
        assert (answer["is_error"], answer["error"]) == (True, 10)
        assert answer["retryable"] is True
        assert await messages(wire, room) == []


async def test_a_module_that_closes_answers_what_it_does_not_end(
    start_module: Callable[..., Module], new_home: Path
) -> None:
    module = start_module("--store", "sqlite", WAIFU_LLM_HOME=str(new_home))
    token = (new_home / "token").read_text("ascii").strip()
    async with connect(module.url) as websocket:
        wire = Wire(websocket)
        await wire.ask({"type": "hello", "token": token})
        room = await furnish(wire)
        await wire.send(endless(room))
        await wire.until("instruction_chunk")
        await wire.send({"type": "close"})
        final = (await wire.until("instruction_done"))[-1]
    assert final["is_error"] is True
    assert module.wait() == 0


class Recorder:
    """Stands where a client's writer would."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def chunk(self, prefix: bytes, text: str) -> None:
        self.sent.append(prefix + text.encode())

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    def end_stream(self, message: bytes, *prefixes: bytes) -> None:
        self.sent.append(message)

    def flush(self) -> None: ...


def talk(
    instructions: FakeInstructions, writer: Recorder, *, most: int = 10
) -> InstructionMessages:
    dialect = Dialect()
    replies = Replies(writer, dialect)
    return InstructionMessages(instructions, replies, writer, dialect, lambda: True, most)


async def test_what_is_being_kept_is_not_interrupted_and_is_told_as_done() -> None:
    instructions, writer = FakeInstructions(), Recorder()
    instructions.is_kept.clear()
    messages = talk(instructions, writer)
    asked = Instruction(unique_request_id="i", instruction={"type": "LONG", "data": 1})
    messages.begin(asked)
    (one,) = messages._under_way.values()
    while not one.is_kept:
        await asyncio.sleep(0)
    assert messages.interrupt("i") == []
    messages.leave()
    instructions.is_kept.set()
    await messages.finish()
    assert instructions.done == [1]
    assert b'"error":0,' in writer.sent[-1]


async def test_what_was_told_interrupted_is_not_kept_though_its_answer_was_there() -> None:
    """The whole answer came in the turn of the loop in which it was stopped."""
    instructions, writer = FakeInstructions(), Recorder()
    instructions.go_on.clear()
    messages = talk(instructions, writer)
    messages.begin(Instruction(unique_request_id="i", instruction={"type": "LONG"}))
    (one,) = messages._under_way.values()
    while not instructions.running:
        await asyncio.sleep(0)
    assert messages.interrupt("i") == [one]
    with pytest.raises(Interrupted):
        one.be_kept()
    await messages.finish()
    assert instructions.done == []
    assert b'"error":7,' in writer.sent[-1]


async def test_nothing_is_heard_after_an_interrupt_though_more_comes_from_the_model() -> None:
    """In the same turn of the loop, before anything could be cancelled."""
    instructions, writer = FakeInstructions(), Recorder()
    instructions.go_on.clear()
    messages = talk(instructions, writer)
    asked = Instruction(unique_request_id="i", instruction={"type": "LONG"}, stream=True)
    messages.begin(asked)
    (one,) = messages._under_way.values()
    while not writer.sent:
        await asyncio.sleep(0)
    heard = len(writer.sent)
    assert [each.id for each in messages.interrupt("i")] == ["i"]
    one.chunk("too late")
    assert len(writer.sent) == heard
    await messages.finish()
    assert b'"error":7,' in writer.sent[-1]
    assert len(writer.sent) == heard + 1


async def test_so_many_may_wait_and_the_next_is_refused() -> None:
    instructions, writer = FakeInstructions(), Recorder()
    instructions.go_on.clear()
    messages = talk(instructions, writer, most=2)
    for id in "abc":
        asked = Instruction(unique_request_id=id, instruction={"type": "LONG"})
        messages.begin(asked)
    assert b'"error":11,' in writer.sent[0]
    assert [each.id for each in messages.interrupt(None)] == ["a", "b"]
    await messages.finish()
