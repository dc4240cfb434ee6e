"""Tokens of helpers: brought with each task, and shown to nobody."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lent import LIMIT, Stage, until_looked_at
from serving import Heard, answer, serving

from waifu_llm.errors import Overloaded
from waifu_llm.helpers.faults import Failed
from waifu_llm.helpers.messages import Task


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
