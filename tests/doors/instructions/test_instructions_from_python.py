"""Instructions from Python."""

from __future__ import annotations

import asyncio

import pytest
from instruction_stage import Dial, endless, furnish, ids, messages
from support import Module

from waifu_llm.client import connect as open_client
from waifu_llm.errors import Forbidden, InvalidMessage


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
