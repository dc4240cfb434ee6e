"""MCP servers as helpers: real processes over their pipes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from lent import LIMIT, Stage, call
from mcp_stage import ask, command, ready, staged

from waifu_llm import system
from waifu_llm.helpers.faults import Failed, NotReached, Slow, UnknownHelper
from waifu_llm.helpers.mcp.stdio import MOST_UNSENT, OverPipes, Program
from waifu_llm.redaction import Redactor

SERVER = Path(__file__).parent / "mcp_server.py"
ALL = [
    "add",
    "back",
    "change",
    "die",
    "environment",
    "fail",
    "hang",
    "picture",
    "read_file",
    "structured",
]


async def test_one_line_makes_a_server_a_helper(tmp_path: Path) -> None:
    async with staged(tmp_path, {"mcp": command()}) as stage:
        helper = await ready(stage)
        assert sorted(helper.capabilities) == [f"box_{name}" for name in ALL]
        assert await ask(stage, "box_add", a=3, b=4) == "7"
        assert await ask(stage, "box_structured") == {"sum": 7}
        assert await ask(stage, "box_read_file") == "read.file is done"
        assert "no text was left out" in await ask(stage, "box_picture")
        shown = helper.shown()
    assert (shown.kind, shown.state, shown.configured) == ("mcp", "well", True)


async def test_a_command_may_be_one_line(tmp_path: Path) -> None:
    async with staged(tmp_path, {"mcp": f"'{sys.executable}' '{SERVER}' well"}) as stage:
        assert (await ready(stage)).is_well


async def test_a_model_calls_its_tools(tmp_path: Path) -> None:
    async with staged(tmp_path, {"mcp": command()}) as stage:
        await ready(stage)
        final = await stage.answer([call("box_add", '{"a": 3, "b": 4}')], "Seven.")
        assert final.response == "Seven."
        assert stage.told[-1].content == '{"result":"7"}'
        tools = {t["function"]["name"]: t["function"] for t in stage.model.requests[0].params.tools}
    assert tools["box_add"]["description"] == "Does add."
    assert tools["box_add"]["parameters"]["required"] == ["a", "b"]


async def test_only_the_tools_that_are_named_are_lent(tmp_path: Path) -> None:
    async with staged(tmp_path, {"mcp": command(), "tools": ["add"]}) as stage:
        assert [*(await ready(stage)).capabilities] == ["box_add"]
        with pytest.raises(UnknownHelper):
            await ask(stage, "box_die")


async def test_it_sees_no_variable_but_those_that_its_table_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_SECRET", "never")
    async with staged(tmp_path, {"mcp": command(), "env": ["SECRET"]}) as stage:
        await ready(stage)
        seen = json.loads(await ask(stage, "box_environment"))
    assert seen["SECRET"] == "***"  # as it is shown
    assert "OTHER_SECRET" not in seen


async def test_what_it_was_given_is_not_shown(tmp_path: Path) -> None:
    """Neither in a name of a tool, nor in a word about it, an answer, or an error."""
    secret, table = 'hush"hush', {"mcp": command("telling"), "env": ["SECRET"]}
    async with AsyncExitStack() as stack:
        stage = Stage(tmp_path, helpers={"box": table}, environ={"SECRET": secret})
        stack.push_async_callback(stage.close)
        helper = await ready(stage)
        seen = await ask(stage, "box_environment")
        with pytest.raises(Failed, match=r"\*\*\*") as caught:
            await ask(stage, "box_fail")
        told = f"{seen} {caught.value.message} {stage.helpers.status()} {helper.capabilities}"
    assert "hush" not in told
    assert helper.capabilities["box____"].description == "Does ***."


async def test_what_fails_in_a_tool_is_said(tmp_path: Path) -> None:
    async with staged(tmp_path, {"mcp": command()}) as stage:
        helper = await ready(stage)
        with pytest.raises(Failed, match="There is no such file"):
            await ask(stage, "box_fail")
        assert helper.is_well


async def test_one_that_dies_says_why_and_is_started_again(tmp_path: Path) -> None:
    async with staged(tmp_path, {"mcp": command()}) as stage:
        await ready(stage)
        with pytest.raises(Failed, match=r"exit status 3[\s\S]*I cannot go on"):
            await ask(stage, "box_die")
        assert await ask(stage, "box_add", a=1, b=1) == "2"
    assert "I cannot go on" in (tmp_path / "logs" / "helper-box.log").read_text()


async def test_one_that_asks_for_something_in_return_gets_nothing(tmp_path: Path) -> None:
    async with staged(tmp_path, {"mcp": command()}) as stage:
        await ready(stage)
        with pytest.raises(Failed, match="in return"):
            await ask(stage, "box_back")


async def test_one_to_whom_nobody_is_introduced_is_a_helper(tmp_path: Path) -> None:
    async with staged(tmp_path, {"mcp": command("stateless")}) as stage:
        helper = await ready(stage)
        await helper.check()
        assert helper.is_well
        assert await ask(stage, "box_add", a=3, b=4) == "7"


async def test_one_that_hangs_is_told_that_nobody_waits(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    environ = {"SECRET": "hush-hush", "HEARD": str(heard)}
    table = {"mcp": command(), "env": ["HEARD"], "seconds": 0.2}
    stage = Stage(tmp_path, helpers={"box": table}, environ=environ)
    await ready(stage)
    with pytest.raises(Slow):
        await ask(stage, "box_hang")
    assert await ask(stage, "box_add", a=1, b=1) == "2"
    await stage.close()
    said = [json.loads(line) for line in heard.read_text().splitlines()]
    (hung,) = [each["id"] for each in said if each.get("params", {}).get("name") == "hang"]
    off = [each for each in said if each["method"] == "notifications/cancelled"]
    assert [each["params"] for each in off] == [{"requestId": hung}]
    assert [each["method"] for each in said][:2] == ["initialize", "notifications/initialized"]


async def test_one_that_starts_slowly_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have to be fetched first. Whoever does not wait that long does not end it."""
    monkeypatch.setattr("waifu_llm.helpers.mcp.way.LOOK_SECONDS", 0.05)
    go = tmp_path / "go"
    table = {"mcp": command("slow"), "env": ["GO"], "seconds": 0.1}
    stage = Stage(tmp_path, helpers={"box": table}, environ={"GO": str(go)})
    helper = await ready(stage)
    assert (helper.is_well, helper.trouble) == (False, "It is still starting.")
    way: Any = helper.way
    begun = way._opening
    await helper.check()
    go.touch()
    async with asyncio.timeout(LIMIT):
        while not helper.is_well:
            await helper.check()
    assert way._opening is begun
    await stage.close()


async def test_what_does_not_read_is_not_given_more_and_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(tmp_path, {"mcp": command()}) as stage:
        await ready(stage)
        monkeypatch.setattr(OverPipes, "unsent", MOST_UNSENT + 1)
        with pytest.raises(NotReached, match="yet to read"):
            await ask(stage, "box_fail")


async def test_new_tools_are_noticed(tmp_path: Path) -> None:
    async with staged(tmp_path, {"mcp": command()}) as stage:
        helper = await ready(stage)
        await ask(stage, "box_change")
        await helper.check()
        assert await ask(stage, "box_grown") == "grown is done"


@pytest.mark.parametrize("mode", ["noisy", "asks"])
async def test_what_else_it_says_costs_nothing(tmp_path: Path, mode: str) -> None:
    async with staged(tmp_path, {"mcp": command(mode)}) as stage:
        await ready(stage)
        assert await ask(stage, "box_add", a=1, b=1) == "2"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (command("dead"), "There is no key"),
        (command("old"), "1999-01-01"),
        (command("endless"), "a line of more than"),
        (["no-such-program-anywhere"], "no program `no-such-program-anywhere`"),
    ],
    ids=["dead", "old", "endless", "absent"],
)
async def test_one_that_cannot_be_used_is_not_well(
    tmp_path: Path, told: list[str], words: str
) -> None:
    async with staged(tmp_path, {"mcp": told}) as stage:
        helper = await ready(stage)
        assert helper.is_well is False
        assert words in (helper.trouble or "")
        assert stage.helpers.registry.capabilities() == {}


async def test_it_ends_with_the_module(tmp_path: Path) -> None:
    async with staged(tmp_path, {"mcp": command()}) as stage:
        await ready(stage)
        way: Any = stage.helpers.registry.all()[0].way
        pid = way._session._transport.pid
        assert system.process_alive(pid)
    assert not system.process_alive(pid)


def test_a_program_is_found_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is run in another folder."""
    monkeypatch.setattr("shutil.which", lambda name: f"./{name}")
    program = Program("box", ["box"], {}, tmp_path, cast(Any, None), Redactor())
    assert program.found() == [os.path.abspath("box")]


@pytest.mark.skipif(os.name != "posix", reason="kills the module as POSIX has it")
async def test_no_server_outlives_a_module_that_is_killed(tmp_path: Path) -> None:
    """Not even one that does not look whether anybody is still there."""
    code = (
        "import asyncio, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "from lent import Stage; from mcp_stage import command, ready\n"
        "async def main():\n"
        "    stage = Stage(Path(sys.argv[2]), helpers={'box': {'mcp': command('deaf')}})\n"
        "    way = (await ready(stage)) and stage.helpers.registry.all()[0].way\n"
        "    print(way._session._transport.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    here = Path(__file__).parent
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, str(here), str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(here.parents[1])},
    )
    async with asyncio.timeout(LIMIT):
        assert process.stdout
        pid = int(await process.stdout.readline())
        process.kill()
        await process.wait()
        while system.process_alive(pid):
            await asyncio.sleep(0.01)


async def test_one_that_dies_and_dies_is_left_alone_for_a_while(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    code = f"open({str(starts)!r}, 'a').write('x')"
    async with staged(tmp_path, {"mcp": [sys.executable, "-c", code]}) as stage:
        helper = await ready(stage)
        way: Any = helper.way
        way._restarts.pause = lambda: 0.0
        for _ in range(6):
            await helper.check()
        assert "is not started again" in (helper.trouble or "")
    assert starts.read_text() == "xxxxx"
