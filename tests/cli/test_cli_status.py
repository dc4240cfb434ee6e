"""`waifu-llm status`"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import Module

from waifu_llm.client import connect
from waifu_llm.version import __version__

Run = Callable[..., Any]


async def test_it_tells_what_runs(waifu_llm: Run, start_module: Callable[..., Module]) -> None:
    module = start_module()
    async with connect(module.url) as llm:
        await llm.load("echo")
        shown = waifu_llm("status", "--url", module.url)
    lines = shown.stdout.splitlines()
    assert shown.returncode == 0
    assert lines[0].startswith(f"waifu-llm {__version__}, up ")
    assert lines[0].endswith(f"process {module.process.pid}")
    assert lines[1] == "2 connected, 0 generating, 0 waiting"
    assert lines[2].startswith("  echo: ready, 2 models, 0 of 256 running, ")


def test_it_tells_when_nothing_is_loaded(
    waifu_llm: Run, start_module: Callable[..., Module]
) -> None:
    assert "nothing is loaded" in waifu_llm("status", "--url", start_module().url).stdout


def test_as_json_it_is_what_the_module_said(waifu_llm: Run, module: Module) -> None:
    status = json.loads(waifu_llm("status", "--json", "--url", module.url).stdout)
    assert status["pid"] == module.process.pid
    assert {"version", "uptime_seconds", "clients", "generations", "loads"} <= status.keys()
    assert not {"type", "error", "unique_request_id"} & status.keys()


def test_it_looks_where_the_settings_say(waifu_llm: Run, module: Module) -> None:
    assert waifu_llm("status", WAIFU_LLM_PORT=str(module.port)).returncode == 0


def test_a_module_that_listens_at_every_address_is_found(
    waifu_llm: Run, start_module: Callable[..., Module], home: Path
) -> None:
    module = start_module("--host", "0.0.0.0", "--behind-proxy")
    where = {"WAIFU_LLM_HOST": "0.0.0.0", "WAIFU_LLM_PORT": str(module.port)}
    token = (home / "token").read_text().strip()
    assert waifu_llm("status", WAIFU_LLM_TOKEN=token, **where).returncode == 0


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_without_a_module_it_says_how_to_start_one(waifu_llm: Run, flags: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ended = waifu_llm("status", *flags, WAIFU_LLM_PORT=str(port))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"No module answers at ws://127.0.0.1:{port}" in ended.stderr
    assert "Start one with `waifu-llm serve`" in ended.stderr


def test_a_guarded_module_is_asked_with_the_token(
    waifu_llm: Run, start_module: Callable[..., Module], home: Path
) -> None:
    url = start_module("--require-token").url
    ended = waifu_llm("status", "--url", url)
    assert (ended.returncode, "asks for its token" in ended.stderr) == (1, True)
    token = (home / "token").read_text().strip()
    assert waifu_llm("status", "--url", url, "--token", token).returncode == 0
    assert waifu_llm("status", "--url", url, WAIFU_LLM_TOKEN=token).returncode == 0
