"""`waifu-llm status`"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import Module

from waifu_llm.cli.advice import program
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
    assert lines[1] == "1 other client, 0 generating, 0 waiting"
    assert lines[2].startswith("  echo: ready, 2 models, 0 of 256 running, ")


def test_it_tells_when_nothing_is_loaded(
    waifu_llm: Run, start_module: Callable[..., Module]
) -> None:
    shown = waifu_llm("status", "--url", start_module().url).stdout
    assert "0 other clients, 0 generating" in shown
    assert "nothing is loaded" in shown


async def test_a_single_model_is_no_models(
    waifu_llm: Run, start_module: Callable[..., Module]
) -> None:
    module = start_module()
    async with connect(module.url) as llm:
        await llm.load("plain")
        assert "plain: ready, 1 model, " in waifu_llm("status", "--url", module.url).stdout


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
    assert ended.returncode == 1
    assert (json.loads(ended.stdout)["error"]["code"] if flags else "UNAVAILABLE") == "UNAVAILABLE"
    assert f"No module answers at ws://127.0.0.1:{port}" in ended.stderr
    assert f"Start one with `{program()} serve`" in ended.stderr


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("foo", "should begin with ws:// or wss://"),
        ("127.0.0.1:7562", "should begin with ws:// or wss://"),
        ("http://127.0.0.1:7562", "should begin with ws:// or wss://"),
        ("ws://", "should be ws://HOST:PORT"),
        ("ws://127.0.0.1:many", "should be ws://HOST:PORT"),
        ("ws://127.0.0.1:0", "Port 0 is no address to connect to"),
    ],
)
def test_what_is_no_address_is_wrong_usage(waifu_llm: Run, url: str, wanted: str) -> None:
    ended = waifu_llm("status", "--url", url)
    assert ended.returncode == 2
    assert wanted in " ".join(ended.stderr.split())
    assert "Start one" not in ended.stderr


def test_a_port_that_any_module_gets_is_none_to_ask_at(waifu_llm: Run) -> None:
    ended = waifu_llm("status", WAIFU_LLM_PORT="0")
    assert ended.returncode == 2
    assert "`port` (from WAIFU_LLM_PORT) is 0" in ended.stderr
    assert "--url" in ended.stderr
