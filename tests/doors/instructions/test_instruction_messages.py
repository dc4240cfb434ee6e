"""Instructions over the WebSocket: who may send them, what is wrong with them, their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from instruction_stage import Dial, endless, furnish, ids, instruction
from support import Module, Wire
from websockets.asyncio.client import connect

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
