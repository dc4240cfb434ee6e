"""Instructions over the WebSocket of a real module that keeps chats."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_instructions import FakeInstructions
from support import Module, Wire
from websockets.asyncio.client import connect

from waifu_llm.answers import Dialect
from waifu_llm.client import connect as open_client
from waifu_llm.doors.instruction_messages import InstructionMessages
from waifu_llm.doors.replies import Replies
from waifu_llm.errors import Forbidden, Interrupted, InvalidMessage
from waifu_llm.protocol import Instruction

HERE = Path(__file__).parents[1]
Dial = Callable[..., Any]


@pytest.fixture(scope="module")
def kept_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("kept")
    shutil.copytree(HERE / "fake_providers", home / "providers")
    return home


@pytest.fixture(scope="module")
def keeper(start_module: Callable[..., Module], kept_home: Path) -> Module:
    """A module with a store."""
    return start_module("--store", "sqlite", WAIFU_LLM_HOME=str(kept_home))


@pytest.fixture
def token(keeper: Module, kept_home: Path) -> str:
    return (kept_home / "token").read_text("ascii").strip()


@pytest.fixture
def dial_keeper(keeper: Module, token: str) -> Dial:
    """Connects a client that brings the token."""

    @asynccontextmanager
    async def dial(**headers: str) -> AsyncIterator[Wire]:
        given = headers or {"Authorization": f"Bearer {token}"}
        async with connect(keeper.url, additional_headers=given, compression=None) as websocket:
            yield Wire(websocket)

    return dial


def instruction(
    type: str, id: str = "i", stream: bool | None = None, **data: Any
) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "type": "instruction",
        "unique_request_id": id,
        "instruction": {"type": type, "data": data},
    }
    return asked if stream is None else {**asked, "stream": stream}


async def carry_out(wire: Wire, type: str, **data: Any) -> Any:
    """The data of an instruction that succeeds."""
    answer = await wire.ask(instruction(type, **data))
    assert answer["status"] == "success", answer
    return answer["data"]


ids = iter(range(10**6))


async def furnish(wire: Wire) -> dict[str, Any]:
    """A user in a chat, and what is needed to ask `count` of the echo provider there."""
    name = f"user_{next(ids)}"
    await carry_out(wire, "USER_CREATE", username=name)
    chat = (await carry_out(wire, "CHAT_CREATE", title="talk", usernames=[name]))["chat"]
    if not (await carry_out(wire, "LLM_PROVIDER_LIST"))["providers"]:
        await carry_out(wire, "LLM_PROVIDER_ADD", name="echo")
        for model in ("echo", "count"):
            await carry_out(wire, "LLM_ADD", provider_name="echo", llm_name=model)
    return {"username": name, "chat_id": chat["chat_id"], "provider_name": "echo"}


def question(room: dict[str, Any], text: str = "hello there", **more: Any) -> dict[str, Any]:
    stream, id = more.pop("stream", None), more.pop("id", "i")
    data = {**room, "llm_name": "echo", "user_input": text, **more}
    return instruction("LLM_RESPONSE_GENERATE", id, stream, **data)


def endless(room: dict[str, Any], id: str = "i", stream: bool = True) -> dict[str, Any]:
    params = {"max_output_length": 100_000, "extra": {"delay_ms": 20}}
    return question(room, "go", id=id, stream=stream, llm_name="count", params=params)


async def messages(wire: Wire, room: dict[str, Any]) -> list[Any]:
    chat = (await carry_out(wire, "CHAT_LOAD", chat_id=room["chat_id"]))["chat"]
    return list(chat["messages"])


# Who may


async def test_the_answer_is_the_instructions_own_under_the_request_s_id(dial_keeper: Dial) -> None:
    async with dial_keeper() as wire:
        answer = await wire.ask(instruction("USER_CREATE", "u", username="Somebody_1"))
    assert list(answer) == [
        *("type", "unique_request_id", "is_error", "error", "status", "message", "data")
    ]
    assert answer["type"] == "instruction_done"
    assert (answer["unique_request_id"], answer["is_error"], answer["error"]) == ("u", False, 0)
    assert answer["status"] == "success"
    assert answer["data"]["user"]["display_name"] == "Somebody_1"


async def test_without_the_token_it_is_refused_and_told_how_to_bring_it(
    keeper: Module, token: str
) -> None:
    async with connect(keeper.url) as websocket:
        wire = Wire(websocket)
        refused = await wire.ask(instruction("USER_LIST"))
        assert (refused["type"], refused["error"]) == ("instruction_done", 21)
        assert (refused["status"], refused["data"]) == ("error", {})
        assert "hello" in refused["message"]
        assert "Authorization" in refused["message"]
        await wire.ask({"type": "hello", "token": "wrong"})
        assert (await wire.ask(instruction("USER_LIST")))["error"] == "FORBIDDEN"
        assert "instruction" in (await wire.ask({"type": "hello", "token": token}))["features"]
        assert (await wire.ask(instruction("USER_LIST")))["status"] == "success"


async def test_without_a_store_it_says_what_to_turn_on_and_to_install(
    module: Module, home: Path
) -> None:
    token = (home / "token").read_text("ascii").strip()
    async with connect(module.url) as websocket:
        wire = Wire(websocket)
        hello = await wire.ask({"type": "hello", "token": token})
        assert "instruction" not in hello["features"]
        answer = await wire.ask(instruction("USER_LIST"))
    assert answer["error"] == "UNSUPPORTED"
    assert "--store" in answer["message"]
    assert "the extra `chats`" in answer["message"]


# What is wrong with it


async def test_what_is_wrong_with_an_instruction_is_said_as_with_every_request(
    dial_keeper: Dial,
) -> None:
    async with dial_keeper() as wire:
        answer = await wire.ask(instruction("USER_GET", username="nobody_at_all"))
        assert (answer["is_error"], answer["error"], answer["status"]) == (True, 9, "error")
        assert (answer["data"], answer["retryable"]) == ({}, False)
        unknown = await wire.ask(instruction("USER_DANCE"))
        assert unknown["status"] == "error"


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ({"instruction": None}, "instruction"),
        ({"instruction": []}, "instruction"),
        ({"instruction": "USER_LIST"}, "instruction"),
        ({"stream": "yes"}, "stream"),
    ],
)
async def test_a_malformed_one_is_answered_as_its_final(
    dial_keeper: Dial, broken: dict[str, Any], named: str
) -> None:
    async with dial_keeper() as wire:
        answer = await wire.ask({**instruction("USER_LIST"), **broken})
    assert (answer["type"], answer["unique_request_id"]) == ("instruction_done", "i")
    assert (answer["is_error"], answer["status"], answer["data"]) == (True, "error", {})
    assert f"`{named}`" in answer["message"]


async def test_one_without_an_id_is_an_error(dial_keeper: Dial) -> None:
    async with dial_keeper() as wire:
        asked = instruction("USER_LIST")
        del asked["unique_request_id"]
        answer = await wire.ask(asked)
    assert answer["type"] == "error"
    assert "unique_request_id" in answer["message"]


# In which order


async def test_what_is_sent_without_waiting_is_carried_out_in_its_order(dial_keeper: Dial) -> None:
    async with dial_keeper() as wire:
        name = f"user_{next(ids)}"
        await wire.send(instruction("USER_CREATE", "1", username=name))
        for number in range(50):
            await wire.send(
                instruction("CHAT_CREATE", str(number + 2), title=str(number), usernames=[name])
            )
        await wire.send(instruction("CHAT_LIST_BY_USER", "last", username=name))
        answers = [await wire.receive() for _ in range(52)]
    assert [each["status"] for each in answers] == ["success"] * 52
    assert [each["title"] for each in answers[-1]["data"]["chats"]] == [str(n) for n in range(50)]


async def test_a_model_is_asked_after_what_came_before_and_holds_up_nothing_after_it(
    dial_keeper: Dial,
) -> None:
    async with dial_keeper() as wire:
        room = await furnish(wire)
        await wire.send(instruction("CHAT_UPDATE", "1", chat_id=room["chat_id"], title="new"))
        await wire.send(endless(room, "2"))
        await wire.send(instruction("CHAT_LOAD", "3", chat_id=room["chat_id"]))
        loaded = (await wire.until("instruction_done"))[-1]
        while loaded["unique_request_id"] != "3":
            loaded = (await wire.until("instruction_done"))[-1]
        assert loaded["data"]["chat"]["title"] == "new"
        await wire.send({"type": "interrupt", "unique_request_id": "x", "target": "2"})
        await wire.until("instruction_done")


# While it is answered


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


# From Python


async def test_the_python_client_streams_and_gives_what_the_answer_holds(
    keeper: Module, token: str, dial_keeper: Dial
) -> None:
    heard: list[str] = []
    async with dial_keeper() as wire, open_client(keeper.url, token=token) as client:
        await furnish(wire)
        chats = client.instructions
        user = await chats.user_create(f"user_{next(ids)}")
        chat = await chats.chat_create("talk", user_ids=[user["user_id"]])
        answer = await chats.llm_response_generate(
            chat["chat_id"],
            "one two",
            llm={"provider_name": "echo", "llm_name": "echo"},
            user_id=user["user_id"],
            on_chunk=heard.append,
        )
    assert heard == ["one", " two"]
    assert answer["content"] == "one two"


async def test_the_python_client_raises_what_went_wrong(keeper: Module, token: str) -> None:
    async with open_client(keeper.url, token=token) as client:
        with pytest.raises(InvalidMessage, match="nobody_there"):
            await client.instructions.user_get(username="nobody_there")
    async with open_client(keeper.url) as client:
        with pytest.raises(Forbidden, match="token"):
            await client.instructions.user_list()


async def test_an_answer_that_the_python_client_no_longer_waits_for_is_stopped(
    keeper: Module, token: str, dial_keeper: Dial
) -> None:
    async with dial_keeper() as wire, open_client(keeper.url, token=token) as client:
        room = await furnish(wire)
        asked = endless(room)["instruction"]["data"]
        began = asyncio.Event()
        waiting = asyncio.create_task(
            client.instructions.carry_out("LLM_RESPONSE_GENERATE", asked, lambda _: began.set())
        )
        await began.wait()
        waiting.cancel()
        await wire.status_until(lambda status: status["generations"] == 0)
        assert await messages(wire, room) == []
