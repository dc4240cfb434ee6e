"""What is asked of helpers, and what is answered when that goes wrong."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lent import LIMIT, Stage, read
from serving import answer, hang, image_helper, raw, serving

from waifu_llm import asking
from waifu_llm.config import Config
from waifu_llm.doors.http import failures
from waifu_llm.doors.http.helper_routes import HelperRoutes
from waifu_llm.doors.http.messages import Head
from waifu_llm.doors.http.routes import Exchange
from waifu_llm.errors import (
    Authorization,
    ContextTooLong,
    RateLimited,
    Timeout,
    Unavailable,
    WaifuError,
)
from waifu_llm.helpers.faults import Failed, NotReached, Refused, Slow, UnknownHelper
from waifu_llm.helpers.messages import Process, RegisterHelper, Task

# The examples


async def test_a_helper_registers_as_the_example_does(stage: Stage) -> None:
    body = '{"name": "ExampleHelper", "capabilities": ["image_processing"], "version": 3}'
    registered = await stage.requests.register(read(RegisterHelper, body), near=True)
    assert registered.helper.name == "ExampleHelper"
    assert registered.helper.capabilities == ["image_processing"]
    assert (registered.helper.kind, registered.helper.lease_seconds_left) == ("listed", None)
    assert [each.name for each in (await stage.requests.listed()).helpers] == ["ExampleHelper"]


async def test_a_task_is_answered_by_the_helper(stage: Stage) -> None:
    async with serving(image_helper) as server:
        await stage.register("ExampleHelper", "image_processing", url=server.url)
        task = read(Task, '{"task": "image_processing", "data": {"image": "cat.png"}}')
        assert await stage.requests.task(task) == {"result": "Processed image"}
    (heard,) = server.tasks
    assert heard.line == "POST /task HTTP/1.1"
    assert heard.json == {"task": "image_processing", "data": {"image": "cat.png"}}


async def test_a_prompt_is_processed_and_its_metadata_come_back(stage: Stage) -> None:
    stage.model.turns = ["This is a generated response"]
    body = '{"prompt": "Hello", "metadata": {"user_id": "u1", "channel": "SMS"}}'
    processed = await stage.requests.process(read(Process, body))
    assert json.loads(msgspec.json.encode(processed)) == {
        "result": "This is a generated response",
        "metadata": {"user_id": "u1", "channel": "SMS"},
    }
    assert stage.told[0].content == "Hello"


# What goes wrong, and its status


async def test_who_registered_without_a_url_cannot_be_asked(stage: Stage) -> None:
    await stage.register("ExampleHelper", "image_processing")
    with pytest.raises(NotReached, match=r"`ExampleHelper`.*without a `url`") as caught:
        await stage.requests.task(Task("image_processing"))
    assert failures.status_of(caught.value) == 502


async def test_a_task_that_nobody_can_do_is_not_found(stage: Stage) -> None:
    await stage.register("ExampleHelper", "image_processing")
    with pytest.raises(UnknownHelper, match="They can do image_processing") as caught:
        await stage.requests.task(Task("cooking"))
    assert failures.status_of(caught.value) == 404


@pytest.mark.parametrize(
    ("handle", "error", "status", "words"),
    [
        (answer({"detail": "No cat"}, "400 Bad Request"), Refused, 400, "No cat"),
        (answer({"detail": [{"msg": "x"}]}, "422 Nope"), Refused, 400, '[{"msg":"x"}]'),
        (answer({}, "401 Unauthorized"), Failed, 502, "answers 401"),
        (answer({}, "404 Not Found"), Failed, 502, "answers 404"),
        (answer({"error": "Ouch"}, "500 Oops"), Failed, 502, "Ouch"),
        (answer({}, "302 Found", location="http://127.0.0.1/"), Failed, 502, "not followed"),
        (answer(b"<html>"), Failed, 502, "not JSON"),
        (answer(b"[" * 5000), Failed, 502, "not JSON"),
        (raw(b"HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{"), Failed, 502, "breaks off"),
        (raw(b""), Failed, 502, "breaks off"),
        (answer(b"x" * 10_485_760), Failed, 502, "more than"),
    ],
    ids=lambda value: value if isinstance(value, int | str) else "",
)
async def test_a_helper_that_fails_is_said_to(
    stage: Stage, handle: Any, error: type[WaifuError], status: int, words: str
) -> None:
    async with serving(handle) as server:
        await stage.register("bad", "work", url=server.url)
        with pytest.raises(error) as caught:
            await stage.requests.task(Task("work"))
    assert type(caught.value) is error
    assert failures.status_of(caught.value) == status
    assert words in caught.value.message
    assert "The helper `bad`" in caught.value.message


async def test_a_helper_that_hangs_is_given_up(tmp_path: Path) -> None:
    stage = Stage(tmp_path, helper_seconds=0.2)
    async with serving(hang) as server:
        await stage.register("slow", "work", url=server.url)
        with pytest.raises(Slow, match=r"0\.2 s") as caught:
            await stage.requests.task(Task("work"))
        async with asyncio.timeout(LIMIT):
            await server.gone.wait()
    (shown,) = (await stage.requests.listed()).helpers
    assert (shown.state, shown.asked, shown.failed) == ("unwell", 1, 1)
    assert stage.helpers.registry.capabilities() == {}  # until it was looked at
    await stage.close()
    assert failures.status_of(caught.value) == 504


async def test_who_stops_waiting_stops_the_call(stage: Stage) -> None:
    async with serving(hang) as server:
        await stage.register("slow", "work", url=server.url)
        asking = asyncio.create_task(stage.requests.task(Task("work")))
        async with asyncio.timeout(LIMIT):
            while not server.tasks:
                await asyncio.sleep(0.01)
            asking.cancel()
            await server.gone.wait()


async def test_nobody_set_to_answer_is_said(tmp_path: Path) -> None:
    stage = Stage(tmp_path, process_provider="", process_model="")
    with pytest.raises(WaifuError, match="set `process_provider`") as caught:
        await stage.requests.process(Process("Hi"))
    await stage.close()
    assert asking.status_of(caught.value) == 503


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unavailable("The server is down."), 502),
        (Authorization("The vendor refuses its key."), 502),  # which is not the module's token
        (Timeout("Nothing came."), 504),
        (RateLimited("Wait."), 429),
        (ContextTooLong("Too long."), 400),
        (asking.Closing("The module is shutting down."), 503),
    ],
)
async def test_a_model_that_fails_is_a_bad_gateway(
    stage: Stage, error: WaifuError, status: int
) -> None:
    stage.model.turns = [error]
    routes = {each.path: each for each in HelperRoutes(stage.requests, Config()).routes()}
    route, body = routes["/process"], Process("Hi")
    asked: Any = Exchange(Head("POST", "/process", {}, ""), route, {}, b"", body, None)
    assert (await route.handler(asked)).status == status
