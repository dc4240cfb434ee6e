"""A whole answer for a room of the module."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support import LIMIT
from talking_model import Model

from waifu_llm.asking import Closing, ask
from waifu_llm.conversation import Message, Params
from waifu_llm.errors import ContextTooLong, RateLimited
from waifu_llm.holdings import Asked

ECHO, TINY = Asked("echo"), Params(model_id="tiny")
HI = Message("user", "Hi")
TALK = [Message("system", "You are Hilda."), *(Message("user", str(n)) for n in range(5))]
TOO_LONG = ContextTooLong("Too long.")


@pytest.fixture
async def model(tmp_path: Path) -> Model:
    return Model(tmp_path / "home")


async def test_it_is_told_as_it_comes_and_whole(model: Model) -> None:
    heard: list[str] = []
    assert await ask(model.engine, ECHO, [HI], TINY, heard.append) == "You said: Hi"
    assert "".join(heard) == "You said: Hi"
    assert model.engine.status()["generations"] == 0


async def test_what_goes_wrong_is_raised(model: Model) -> None:
    error = RateLimited("Wait.", retry_after_ms=5)
    model.say = lambda _: error
    with pytest.raises(RateLimited) as caught:
        await ask(model.engine, ECHO, [HI], TINY)
    assert caught.value is error


async def test_who_stops_waiting_stops_the_model(model: Model) -> None:
    model.gate.clear()
    asking = asyncio.create_task(ask(model.engine, ECHO, [HI], TINY))
    async with asyncio.timeout(LIMIT):
        while not model.running:
            await asyncio.sleep(0)
        assert model.engine.status()["clients"] == 0  # it is one of the house
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        while model.running:
            await asyncio.sleep(0)
    assert model.engine.status()["generations"] == 0


async def test_who_waits_when_the_module_ends_is_told_that(model: Model) -> None:
    model.gate.clear()
    asking = asyncio.create_task(ask(model.engine, ECHO, [HI], TINY))
    async with asyncio.timeout(LIMIT):
        while not model.running:
            await asyncio.sleep(0)
        await model.engine.silence()
        with pytest.raises(Closing):
            await asking


async def test_what_is_too_long_is_tried_once_with_its_later_half(model: Model) -> None:
    model.say = lambda request: TOO_LONG if len(request.messages) > 4 else "short"
    assert await ask(model.engine, ECHO, TALK, TINY) == "short"
    assert model.requests[-1].messages == [TALK[0], *TALK[3:]]


@pytest.mark.parametrize(("talk", "asked"), [(TALK, 2), ([HI], 1), ([TALK[0], HI], 1)])
async def test_what_is_too_long_all_the_same_is_said(
    model: Model, talk: list[Message], asked: int
) -> None:
    model.say = lambda _: TOO_LONG
    with pytest.raises(ContextTooLong):
        await ask(model.engine, ECHO, talk, TINY)
    assert len(model.requests) == asked


async def test_what_was_begun_to_be_said_is_not_said_anew(model: Model) -> None:
    said: Any = ("Well", TOO_LONG)
    model.say = lambda _: said
    heard: list[str] = []
    with pytest.raises(ContextTooLong):
        await ask(model.engine, ECHO, TALK, TINY, heard.append)
    assert "".join(heard) == "Well"
    assert len(model.requests) == 1
