"""`waifu-llm providers`"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import Module

from waifu_llm.client import connect

Run = Callable[..., Any]
FAKES = Path(__file__).parents[1] / "fake_providers"


@pytest.fixture
def own_home(tmp_path: Path) -> dict[str, str]:
    """A home with a provider that can be read, and one that cannot."""
    shutil.copytree(FAKES / "plain", tmp_path / "providers" / "plain")
    (tmp_path / "providers" / "torn").mkdir()
    (tmp_path / "providers" / "torn" / "provider.toml").write_text("name = ")
    return {"WAIFU_LLM_HOME": str(tmp_path)}


def test_it_lists_what_can_be_loaded(waifu_llm: Run, own_home: dict[str, str]) -> None:
    shown = waifu_llm("providers", **own_home)
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert shown.returncode == 0
    assert ["echo", "local", "not", "installed", "Echo"] in rows
    assert ["plain", "cloud", "not", "installed", "Plain"] in rows


def test_a_provider_that_cannot_be_read_is_named(waifu_llm: Run, own_home: dict[str, str]) -> None:
    shown = waifu_llm("providers", **own_home)
    (line,) = shown.stderr.splitlines()
    assert line.split()[:4] == ["torn", "cannot", "be", "used:"]
    assert "torn" not in shown.stdout


def test_as_json_it_tells_the_same(
    waifu_llm: Run, own_home: dict[str, str], tmp_path: Path
) -> None:
    listed = json.loads(waifu_llm("providers", "--json", **own_home).stdout)
    assert listed["broken"].keys() == {"torn"}
    plain = next(each for each in listed["providers"] if each["name"] == "plain")
    assert plain == {
        "name": "plain",
        "title": "Plain",
        "kind": "cloud",
        "installed": False,
        "folder": str(tmp_path / "providers" / "plain"),
    }


async def test_what_was_loaded_once_is_installed(waifu_llm: Run, module: Module) -> None:
    async with connect(module.url) as llm:
        await llm.load("echo")
    listed = json.loads(waifu_llm("providers", "--json").stdout)
    assert {each["name"]: each["installed"] for each in listed["providers"]}["echo"]
