"""Who is asked before whom, and how they all are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from lent import LIMIT, Stage, until_looked_at
from serving import Heard, answer, hang, image_helper, raw, serving

from waifu_llm.doors.http.failures import status_of
from waifu_llm.helpers.faults import Crowded, Failed, NotReached, Slow
from waifu_llm.helpers.messages import Task

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


@pytest.mark.parametrize("capabilities", [[], ["other"]], ids=["gone", "changed"])
async def test_who_went_while_another_was_asked_is_not_asked(
    stage: Stage, capabilities: list[str]
) -> None:
    async def away(heard: Heard, writer: asyncio.StreamWriter) -> None:
        if heard.line.startswith("POST"):
            await stage.requests.remove("old")
            if capabilities:
                await stage.register("old", *capabilities)
        await answer({}, "503 Not now")(heard, writer)

    async with serving(answer("old")) as old, serving(away) as new:
        await stage.register("old", "work", url=old.url)
        await stage.register("new", "work", url=new.url)
        with pytest.raises(NotReached, match="`new`"):
            await stage.requests.task(Task("work"))
    assert not old.tasks


async def test_for_one_that_may_have_done_it_nobody_else_is_asked(stage: Stage) -> None:
    async with serving(answer("old")) as old, serving(raw(b"HTTP/1.1 2")) as new:
        await stage.register("old", "work", url=old.url)
        await stage.register("new", "work", url=new.url)
        with pytest.raises(Failed):
            await stage.requests.task(Task("work"))
    assert old.tasks == []


# So many at a time


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
    assert (most, status_of(caught.value)) == (2, 503)


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
