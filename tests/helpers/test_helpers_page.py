"""docs/helpers.md: its helper helps, its tables can be, its limits are those that hold."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tomllib
from pathlib import Path

import msgspec
from lent import LIMIT, Stage, call
from serving import Heard, answer, serving

from waifu_llm.config import Config
from waifu_llm.helpers.configured import Table
from waifu_llm.helpers.messages import RegisterHelper, Task

PAGE = (Path(__file__).parents[2] / "docs" / "helpers.md").read_text("utf-8")
(PYTHON,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
(TOML,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
SETTINGS = {
    *("max_helpers", "helper_seconds", "helper_calls_at_once", "helper_rounds"),
    *("helper_total_seconds", "helper_check_seconds", "helper_networks"),
}


async def test_its_helper_registers_and_helps(stage: Stage) -> None:
    async def register(heard: Heard, writer: asyncio.StreamWriter) -> None:
        assert heard.line == "POST /register_helper HTTP/1.1"
        assert heard.headers["authorization"] == "bearer the-token"
        told = msgspec.json.decode(heard.body, type=RegisterHelper)
        registered = await stage.requests.register(told, near=True)
        await answer(msgspec.to_builtins(registered))(heard, writer)

    async with serving(register) as module, asyncio.timeout(LIMIT):
        environ = {"WAIFU_LLM_TOKEN": "the-token", "WAIFU_LLM_HTTP": module.url}
        helper = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PYTHON),
            env={**os.environ, **environ},
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            while not stage.helpers.registry.all():
                await asyncio.sleep(0.01)
            rolled = await stage.requests.task(Task("roll", {"sides": 1}))
            assert rolled == {"result": 1}
            await stage.answer([call("roll", '{"sides": 1}')], "A one.")
            assert stage.told[-1].content == '{"result":1}'
            await stage.helpers.registry.all()[0].check()
            assert stage.helpers.registry.all()[0].is_well
        finally:
            helper.kill()
            await helper.wait()


def test_its_tables_can_be() -> None:
    tables = tomllib.loads(TOML)["helpers"]
    assert len(tables) == 3
    for table in tables.values():
        msgspec.convert(table, Table)


def test_it_names_every_field_of_both() -> None:
    for kind in (Table, RegisterHelper):
        for name in kind.__struct_fields__:
            assert f"`{name}`" in PAGE, f"{kind.__name__}.{name} is not on the page"


def test_its_limits_are_those_that_hold() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| (\w+) \|$", PAGE, re.MULTILINE))
    assert rows.keys() == SETTINGS
    for name, shown in rows.items():
        holds = getattr(Config(), name)
        assert shown == ("none" if holds == () else f"{holds:g}")
