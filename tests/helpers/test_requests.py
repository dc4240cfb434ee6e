"""Registering, being asked, and what is answered when that goes wrong."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lent import LIMIT, Stage
from serving import Heard, answer, hang, raw, serving

from waifu_llm.errors import Forbidden, InvalidMessage, Overloaded, Unavailable, WaifuError
from waifu_llm.helpers.faults import (
    Crowded,
    Failed,
    NotReached,
    Refused,
    Slow,
    UnknownHelper,
    http_status,
)
from waifu_llm.helpers.messages import Process, RegisterHelper, Task


def read(kind: type, body: str) -> Any:
    return msgspec.json.decode(body, type=kind)


async def image_helper(heard: Heard, writer: asyncio.StreamWriter) -> None:
    """The example helper: it knows one task."""
    if heard.line.startswith("GET"):
        await answer({"detail": "Not Found"}, "404 Not Found")(heard, writer)
    elif heard.json["task"] == "image_processing":
        await answer({"result": "Processed image"})(heard, writer)
    else:
        await answer({"detail": "Task not supported"}, "400 Bad Request")(heard, writer)


async def until_looked_at(stage: Stage, name: str) -> Any:
    async with asyncio.timeout(LIMIT):
        while True:
            (helper,) = [each for each in stage.helpers.registry.all() if each.name == name]
            if helper.is_well is not None:
                return helper.shown()
            await asyncio.sleep(0.01)


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
    assert http_status(caught.value) == 502


async def test_a_task_that_nobody_can_do_is_not_found(stage: Stage) -> None:
    await stage.register("ExampleHelper", "image_processing")
    with pytest.raises(UnknownHelper, match="They can do image_processing") as caught:
        await stage.requests.task(Task("cooking"))
    assert http_status(caught.value) == 404


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
    assert http_status(caught.value) == status
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
    assert http_status(caught.value) == 504


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
    assert http_status(caught.value) == 503


async def test_a_model_that_fails_is_a_bad_gateway(stage: Stage) -> None:
    stage.model.turns = [Unavailable("The server is down.")]
    with pytest.raises(Unavailable) as caught:
        await stage.requests.process(Process("Hi"))
    assert http_status(caught.value) == 502


# Registrations


@pytest.mark.parametrize(
    "body",
    [
        '{"capabilities": ["a"]}',
        '{"name": "", "capabilities": ["a"]}',
        '{"name": "a b", "capabilities": ["a"]}',
        '{"name": "a\\n", "capabilities": ["a"]}',
        '{"name": "' + "a" * 65 + '", "capabilities": ["a"]}',
        '{"name": "a", "capabilities": []}',
        '{"name": "a", "capabilities": "image_processing"}',
        '{"name": "a", "capabilities": ["has space"]}',
        '{"name": "a", "capabilities": [{"description": "nameless"}]}',
        '{"name": "a", "capabilities": [{"name": "x", "parameters": []}]}',
        '{"name": "a", "capabilities": ["a"], "lease_seconds": 0}',
        '{"name": "a", "capabilities": ["a"], "token": "two\\r\\nlines"}',
        '{"name": "a", "capabilities": [' + ", ".join(f'"c{n}"' for n in range(65)) + "]}",
    ],
)
def test_what_is_no_registration_is_not_read(body: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(RegisterHelper, body)


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "array"},
        {"type": "object", "x": "y" * 20_000},
        {"properties": 7},
        {"properties": {"town": 7}},
        {"required": 7},
        {"required": [["x"]]},
    ],
    ids=["array", "big", "properties", "property", "required", "names"],
)
async def test_a_schema_that_is_none_of_an_object_is_refused(
    stage: Stage, parameters: dict[str, Any]
) -> None:
    with pytest.raises(InvalidMessage, match="`parameters` of `x`"):
        await stage.register("a", {"name": "x", "parameters": parameters})


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://10.0.0.1/", "http://[::1]/"])
async def test_from_elsewhere_nobody_registers_what_is_inside(stage: Stage, url: str) -> None:
    told = RegisterHelper("a", ["work"], url)
    with pytest.raises(Forbidden, match="not on the open internet") as caught:
        await stage.requests.register(told, near=False)
    assert http_status(caught.value) == 403
    assert (await stage.requests.listed()).helpers == []


async def test_from_elsewhere_a_name_that_leads_inside_is_not_asked(stage: Stage) -> None:
    async with serving(image_helper) as server:
        told = RegisterHelper("a", ["image_processing"], f"http://localhost:{server.port}")
        await stage.requests.register(told, near=False)
        with pytest.raises(NotReached, match="not on the open internet"):
            await stage.requests.task(Task("image_processing"))
    assert server.heard == []


async def test_from_here_it_may_be_here_and_not_next_door(stage: Stage) -> None:
    with pytest.raises(Forbidden, match=r"192\.168\.1\.9"):
        await stage.register("a", "work", url="http://192.168.1.9/")


async def test_a_network_that_is_configured_may_be_registered(tmp_path: Path) -> None:
    stage = Stage(tmp_path, helper_networks=("192.168.1.0/24",))
    registered = await stage.requests.register(
        RegisterHelper("a", ["work"], "http://192.168.1.9:1/"), near=False
    )
    await stage.close()
    assert registered.helper.url == "http://192.168.1.9:1"


async def test_there_is_room_for_so_many(tmp_path: Path) -> None:
    stage = Stage(tmp_path, max_helpers=2)
    await stage.register("a", "work")
    await stage.register("b", "work")
    await stage.register("a", "other")  # one that is there already needs no more room
    with pytest.raises(Overloaded, match="max_helpers"):
        await stage.register("c", "work")
    await stage.requests.remove("b")
    await stage.register("c", "work")
    await stage.close()


async def test_a_lease_ends_unless_it_is_renewed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("waifu_llm.helpers.helper.monotonic", lambda: now)
    await stage.register("a", "work", lease_seconds=30)
    now += 29
    assert (await stage.requests.heartbeat("a")).helper.lease_seconds_left == 30
    now += 29
    assert len((await stage.requests.listed()).helpers) == 1
    now += 2
    assert (await stage.requests.listed()).helpers == []
    with pytest.raises(UnknownHelper, match="its lease is over"):
        await stage.requests.heartbeat("a")
    with pytest.raises(UnknownHelper):
        await stage.requests.task(Task("work"))


async def test_who_registers_again_takes_the_place_of_what_was(stage: Stage) -> None:
    await stage.register("a", "old")
    await stage.register("a", "new")
    (shown,) = (await stage.requests.listed()).helpers
    assert shown.capabilities == ["new"]


async def test_what_is_removed_is_gone(stage: Stage) -> None:
    await stage.register("a", "work")
    await stage.requests.remove("a")
    for again in (stage.requests.remove("a"), stage.requests.task(Task("work"))):
        with pytest.raises(UnknownHelper):
            await again


async def test_a_token_goes_with_tasks_alone_and_is_never_shown(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(answer({}, "500 Oops")) as server:
        await stage.register("a", "work", url=f"{server.url}/x/path-secret", token="tok-secret")
        with pytest.raises(Failed) as caught:
            await stage.requests.task(Task("work"))
        shown = await until_looked_at(stage, "a")
    sent = {each.line.split()[0]: each.headers.get("authorization") for each in server.heard}
    assert sent == {"POST": "bearer tok-secret", "GET": None}
    for text in (str(shown), caught.value.message, caplog.text, str(stage.helpers.status())):
        assert "secret" not in text
    assert "tok-secret" not in stage.redactor.clean("it said tok-secret")


TOKENS = ["zzq-secret", 'zzq"secret', "zzq\\secret"]


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize(
    "detail",
    [
        lambda token: f"Not {token}!",
        lambda token: [{"was": token}],
        lambda token: "x" * 979 + token,
    ],
    ids=["text", "json", "cut"],
)
async def test_a_helper_that_repeats_its_token_does_not_show_it(
    stage: Stage, caplog: pytest.LogCaptureFixture, token: str, detail: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(answer({"detail": detail(token)}, "500 Oops")) as server:
        await stage.register("a", "work", url=server.url, token=token)
        with pytest.raises(Failed, match=r"\*\*\*") as caught:
            await stage.requests.task(Task("work"))
        shown = await until_looked_at(stage, "a")
    status = msgspec.json.encode(stage.helpers.status()).decode()
    for text in (caught.value.message, shown.trouble or "", status, caplog.text):
        assert "secret" not in text
        assert "zzq" not in text


@pytest.mark.parametrize("token", TOKENS)
async def test_nor_does_one_that_answers_with_it(stage: Stage, token: str) -> None:
    async with serving(answer({"you sent": [token], token: 1})) as server:
        await stage.register("a", "work", url=server.url, token=token)
        assert await stage.requests.task(Task("work")) == {"you sent": ["***"], "***": 1}


async def test_what_a_helper_says_of_its_trouble_is_cut(stage: Stage) -> None:
    async with serving(answer({"detail": "x" * 100_000}, "500 Oops")) as server:
        await stage.register("a", "work", url=server.url)
        with pytest.raises(Failed, match=r"x…\Z") as caught:
            await stage.requests.task(Task("work"))
    assert len(caught.value.message) < 1100


async def test_a_token_that_was_refused_is_forgotten(tmp_path: Path) -> None:
    stage = Stage(tmp_path, max_helpers=1, helper_seconds=0.1)
    await stage.register("a", "work")
    with pytest.raises(Overloaded):
        await stage.register("b", "work", url="http://127.0.0.1:1/", token="tok-secret")
    async with asyncio.timeout(LIMIT):
        while stage.redactor.clean("tok-secret") != "tok-secret":
            await asyncio.sleep(0.01)
    await stage.close()


async def test_a_token_is_not_shown_by_a_call_that_outlives_its_helper(stage: Stage) -> None:
    gate = asyncio.Event()

    async def late(heard: Heard, writer: asyncio.StreamWriter) -> None:
        if heard.line.startswith("POST"):
            await gate.wait()
        await answer({"you sent": "tok-secret"})(heard, writer)

    async with serving(late) as server, asyncio.timeout(LIMIT):
        await stage.register("a", "work", url=server.url, token="tok-secret")
        asking = asyncio.create_task(stage.requests.task(Task("work")))
        while not server.tasks:
            await asyncio.sleep(0.01)
        await stage.requests.remove("a")
        await asyncio.sleep(0)  # its way is closed
        await asyncio.sleep(0)
        gate.set()
        assert await asking == {"you sent": "***"}


async def test_one_whose_places_are_taken_lets_another_be_asked(tmp_path: Path) -> None:
    stage = Stage(tmp_path, helper_calls_at_once=1, helper_seconds=0.2)
    async with serving(hang) as server, serving(answer({"by": "b"})) as other:
        await stage.register("b", "work", url=other.url)
        await stage.register("a", "work", url=server.url)
        first = asyncio.create_task(stage.requests.task(Task("work")))
        async with asyncio.timeout(LIMIT):
            while not server.tasks:
                await asyncio.sleep(0.01)
        (helper,) = [each for each in stage.helpers.registry.all() if each.name == "a"]
        helper._seconds = 0.02
        assert await stage.requests.task(Task("work")) == {"by": "b"}
        assert helper.is_well is not False
        with pytest.raises(Slow):
            await first
    await stage.close()


async def test_a_look_that_never_ends_does_not_keep_others_from_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waifu_llm.helpers.registry._ROUND_SECONDS", 0.05)
    stage, gate = Stage(tmp_path, helper_check_seconds=0.05), asyncio.Event()
    async with serving(answer({})) as server:
        await stage.register("stuck", "work")
        await stage.register("a", "work", url=server.url)
        (stuck, _) = stage.helpers.registry.all()
        monkeypatch.setattr(stuck, "check", gate.wait)
        async with asyncio.timeout(LIMIT):
            while len(server.heard) < 4:
                await asyncio.sleep(0.01)
        gate.set()
    await stage.close()


# Several that can do the same


@pytest.fixture
async def two(stage: Stage) -> AsyncIterator[tuple[Any, Any]]:
    async with serving(answer("old")) as old, serving(answer("new")) as new:
        await stage.register("old", "work", url=old.url)
        await stage.register("new", "work", url=new.url)
        yield old, new


async def test_the_latest_is_asked(stage: Stage, two: tuple[Any, Any]) -> None:
    assert await stage.requests.task(Task("work")) == "new"


async def test_one_of_the_configuration_comes_before_others(tmp_path: Path) -> None:
    """Nobody who registers takes from the operator's own what they can do."""
    async with serving(answer("own")) as own, serving(answer("new")) as new:
        table = {"url": own.url, "capabilities": ["work"]}
        stage = Stage(tmp_path, helpers={"own": table})
        await stage.register("new", "work", url=new.url)
        assert await stage.requests.task(Task("work")) == "own"
        await stage.close()


async def test_one_that_is_not_well_is_asked_last(stage: Stage, two: tuple[Any, Any]) -> None:
    await until_looked_at(stage, "new")
    helpers = {each.name: each for each in stage.helpers.registry.all()}
    helpers["new"].is_well = False
    assert await stage.requests.task(Task("work")) == "old"


async def test_for_one_that_cannot_be_reached_another_is_asked(stage: Stage) -> None:
    async with serving(answer("old")) as old:
        async with serving(answer("new")) as new:
            pass
        await stage.register("old", "work", url=old.url)
        await stage.register("new", "work", url=new.url)
        assert await stage.requests.task(Task("work")) == "old"
    (_, shown) = (await stage.requests.listed()).helpers
    assert (shown.name, shown.state) == ("new", "unwell")


async def test_for_one_that_says_that_it_cannot_now_another_is_asked(stage: Stage) -> None:
    async with serving(answer("old")) as old, serving(answer({}, "503 Away")) as new:
        await stage.register("old", "work", url=old.url)
        await stage.register("new", "work", url=new.url)
        assert await stage.requests.task(Task("work")) == "old"


async def test_for_one_that_may_have_done_it_nobody_else_is_asked(stage: Stage) -> None:
    async with serving(answer("old")) as old, serving(raw(b"HTTP/1.1 2")) as new:
        await stage.register("old", "work", url=old.url)
        await stage.register("new", "work", url=new.url)
        with pytest.raises(Failed):
            await stage.requests.task(Task("work"))
    assert old.tasks == []


async def test_one_helper_is_asked_so_many_things_at_a_time(tmp_path: Path) -> None:
    stage = Stage(tmp_path, helper_calls_at_once=2)
    running, most, gate = 0, 0, asyncio.Event()

    async def work(heard: Heard, writer: asyncio.StreamWriter) -> None:
        nonlocal running, most
        if heard.line.startswith("GET"):
            return await answer({})(heard, writer)
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1
        return await answer({})(heard, writer)

    async with serving(work) as server, asyncio.timeout(LIMIT):
        await stage.register("a", "work", url=server.url)
        asking = [asyncio.create_task(stage.requests.task(Task("work"))) for _ in range(34)]
        while running < 2:
            await asyncio.sleep(0.01)
        with pytest.raises(Crowded, match="too many wait") as caught:
            await stage.requests.task(Task("work"))
        gate.set()
        await asyncio.gather(*asking)
    await stage.close()
    assert (most, http_status(caught.value)) == (2, 503)


# How they are


@pytest.mark.parametrize("handle", [image_helper, answer({}, "501 No GET")], ids=["404", "501"])
async def test_one_that_answers_anything_is_well(stage: Stage, handle: Any) -> None:
    async with serving(handle) as server:
        await stage.register("a", "image_processing", url=server.url)
        shown = await until_looked_at(stage, "a")
    assert (shown.state, shown.trouble) == ("well", None)
    assert server.heard[0].line == "GET /healthz HTTP/1.1"


async def test_one_that_is_gone_is_found_out_and_found_again(tmp_path: Path) -> None:
    stage = Stage(tmp_path, helper_check_seconds=0.1)
    handles = [answer({}, "503 Away"), answer({})]

    async def health(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await handles[0](heard, writer)

    async def until(state: str) -> Any:
        async with asyncio.timeout(LIMIT):
            while (shown := stage.helpers.registry.all()[0].shown()).state != state:
                await asyncio.sleep(0.01)
        return shown

    async with serving(health) as server:
        await stage.register("a", "work", url=server.url)
        assert "503" in (await until("unwell")).trouble
        assert stage.helpers.registry.capabilities() == {}
        handles.pop(0)
        await until("well")
    assert [*stage.helpers.registry.capabilities()] == ["work"]
    await stage.close()


async def test_one_that_was_only_listed_is_not_looked_for(stage: Stage) -> None:
    await stage.register("a", "work")
    (helper,) = stage.helpers.registry.all()
    await helper.check()
    assert helper.shown().state == "unknown"
