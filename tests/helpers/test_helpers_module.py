"""A whole module with an MCP server: a client asks for helpers, and people look at them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Module, Wire, chunks
from websockets.asyncio.client import connect

SERVER = Path(__file__).parent / "mcp_server.py"
TABLE = f"[helpers.box]\nmcp = {json.dumps([sys.executable, str(SERVER)])}\ntools = ['add']\n"
FAKES = Path(__file__).parents[1] / "fake_providers"


@pytest.fixture(scope="module")
def lending(
    start_module: Callable[..., Module], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Module, Path]]:
    home = tmp_path_factory.mktemp("lending")
    shutil.copytree(FAKES / "caller", home / "providers" / "caller")
    (home / "waifu-llm.toml").write_text(TABLE, "utf-8")
    module = start_module(WAIFU_LLM_HOME=str(home))
    yield module, home
    module.kill()


def asked(id: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "generate",
        "unique_request_id": id,
        "provider": "caller",
        "messages": [{"role": "user", "content": '{"a": 3, "b": 4}'}],
        "params": {"model_id": "caller"},
        "stream": True,
        **more,
    }


async def until_well(wire: Wire) -> dict[str, Any]:
    status = await wire.status_until(lambda told: told["helpers"][0]["state"] == "well")
    helper: dict[str, Any] = status["helpers"][0]
    return helper


async def test_a_client_hears_one_answer(lending: tuple[Module, Path]) -> None:
    module, _ = lending
    async with connect(module.url) as websocket:
        wire = Wire(websocket)
        hello = await wire.ask({"type": "hello"})
        assert "helpers" in hello["features"]
        assert (await until_well(wire))["capabilities"] == ["box_add"]
        await wire.load("caller")
        await wire.send(asked("g", helpers=True))
        messages = await wire.until("generate_stream_done")
        assert messages[0]["type"] == "generate_ack"
        said = 'Let me see.\nI heard {"result":"7"}'
        assert chunks(messages) == messages[-1]["response"] == said
        assert messages[-1]["finish_reason"] == "stop"
        whole = await wire.final(asked("w", helpers=True, stream=False))
        assert (whole["response"], whole["tool_calls"]) == (said, None)
        without = await wire.final(asked("n"))
        assert without["response"] == 'I heard {"a": 3, "b": 4}'


async def test_it_is_refused_where_there_are_none(module: Module) -> None:
    async with connect(module.url) as websocket:
        wire = Wire(websocket)
        assert "helpers" not in (await wire.ask({"type": "hello"}))["features"]
        await wire.load()
        refused = await wire.final(
            {**asked("g", helpers=True), "provider": "echo", "params": {"model_id": "echo"}}
        )
        assert refused["error"] == "UNSUPPORTED"
        prompt = {**asked("p", helpers=True), "prompt": "Once", "messages": None}
        assert "`helpers` go with `messages`" in (await wire.final(prompt))["message"]


async def test_people_see_them(lending: tuple[Module, Path]) -> None:
    module, home = lending
    async with connect(module.url) as websocket:
        await until_well(Wire(websocket))
    shown = run("helpers", module, home)
    assert shown.startswith(f"box: well, mcp, {sys.executable}, configured, ")
    assert "  box_add" in shown
    (helper,) = json.loads(run("helpers", module, home, "--json"))["helpers"]
    assert helper["capabilities"] == ["box_add"]
    assert "1 helper, 1 of them well" in run("status", module, home)


def test_people_see_that_there_are_none(module: Module, tmp_path: Path) -> None:
    assert "no helpers" in run("helpers", module, tmp_path)


def run(command: str, module: Module, home: Path, *more: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "waifu_llm", command, "--url", module.url, *more],
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_table_that_is_wrong_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "waifu-llm.toml").write_text("[helpers.box]\nurl = 'box'\n", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "waifu_llm", "serve", "--port", "0"],
        env={**os.environ, "WAIFU_LLM_HOME": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
    )
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "In the helper `box`" in done.stderr
