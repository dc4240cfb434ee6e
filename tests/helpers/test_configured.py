"""Helpers of the configuration: one table for each."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from lent import Stage
from mcp_stage import ask, staged
from serving import answer, serving

from waifu_llm.config import ConfigError
from waifu_llm.errors import WaifuError
from waifu_llm.helpers.faults import NotReached


async def test_a_token_may_end_with_a_line(tmp_path: Path) -> None:
    table = {"mcp": "http://127.0.0.1:1/", "token_env": "TOKEN"}
    stage = Stage(tmp_path, helpers={"box": table}, environ={"TOKEN": "hush-hush\n"})
    assert stage.redactor.clean("hush-hush") == "***"
    await stage.close()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "either a `url` or `mcp`"),
        ({"url": "http://box/", "mcp": "x"}, "either a `url` or `mcp`"),
        ({"url": "http://box/"}, "no `capabilities`"),
        ({"url": "box", "capabilities": ["a"]}, "HOST:PORT"),
        ({"url": "http://127.1/", "capabilities": ["a"]}, "127.1"),
        ({"mcp": "http://a@b/"}, "HOST:PORT"),
        ({"mcp": " "}, "nothing that can be run"),
        ({"mcp": ["", "x"]}, "nothing that can be run"),
        ({"mcp": "http://box/", "token_env": "ODD"}, "`ODD` holds no token"),
        ({"mcp": "'unclosed"}, "No closing quotation"),
        ({"mcp": "x", "env": ["NOT_THERE"]}, "`NOT_THERE`"),
        ({"mcp": "http://box/", "token_env": "NOT_THERE"}, "`NOT_THERE`"),
        ({"mcp": "x", "token_env": "SECRET"}, "`token_env` means nothing"),
        ({"mcp": "http://box/", "env": ["SECRET"]}, "`env` means nothing"),
        ({"mcp": "x", "capabilities": ["a"]}, "`capabilities` means nothing"),
        ({"url": "http://box/", "capabilities": ["a"], "tools": ["a"]}, "`tools` means nothing"),
        ({"mcp": "x", "comand": "y"}, "comand"),
        ({"mcp": 7}, "Expected"),
    ],
)
def test_a_table_that_cannot_be_is_said(tmp_path: Path, table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Stage(tmp_path, helpers={"box": table}, environ={"ODD": "hush hush"})
    assert "hush" not in caught.value.message
    assert "In the helper `box`" in caught.value.message
    assert words in caught.value.message


async def test_what_is_configured_stays(tmp_path: Path) -> None:
    table = {"url": "http://127.0.0.1:9/", "capabilities": ["work"]}
    async with staged(tmp_path, table) as stage:
        for attempt in (stage.register("box", "work"), stage.requests.remove("box")):
            with pytest.raises(WaifuError, match="configuration"):
                await attempt


async def test_what_is_configured_may_be_at_home(tmp_path: Path) -> None:
    async with serving(answer({"result": 1})) as server, AsyncExitStack() as stack:
        table = {"url": server.url, "capabilities": ["work"]}
        stage = await stack.enter_async_context(staged(tmp_path, table))
        assert await ask(stage, "work") == {"result": 1}


async def test_nothing_from_the_network_is_run(stage: Stage, tmp_path: Path) -> None:
    """A registration has no field for a command, and what it brings in others is no command."""
    mark = tmp_path / "ran"
    touch = f"{sys.executable} -c \"open({str(mark)!r}, 'w')\""
    await stage.register("evil", "work", mcp=touch, command=touch, url=None)
    with pytest.raises(NotReached):
        await ask(stage, "work")
    assert not mark.exists()
