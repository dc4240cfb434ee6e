"""`waifu-llm list`"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support import Module

from waifu_llm.client import connect
from waifu_llm.paths import bundled_providers

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
    shown = waifu_llm("list", **own_home)
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert shown.returncode == 0
    assert ["echo", "local", "not", "installed", "Echo"] in rows
    assert ["plain", "cloud", "not", "installed", "Plain"] in rows


def test_a_provider_that_cannot_be_read_is_named(waifu_llm: Run, own_home: dict[str, str]) -> None:
    shown = waifu_llm("list", **own_home)
    (line,) = shown.stderr.splitlines()
    assert line.split()[:4] == ["torn", "cannot", "be", "used:"]
    assert "torn" not in shown.stdout


def test_as_json_it_tells_the_same(
    waifu_llm: Run, own_home: dict[str, str], tmp_path: Path
) -> None:
    listed = json.loads(waifu_llm("list", "--json", **own_home).stdout)
    assert listed["broken"].keys() == {"torn"}
    plain = next(each for each in listed["providers"] if each["name"] == "plain")
    folder = tmp_path / "providers"
    assert plain == {
        "name": "plain",
        "title": "Plain",
        "kind": "cloud",
        "from": str(folder),
        "folder": str(folder / "plain"),
        "installed": False,
        "outdated": False,
        "loaded": None,
        "versions": {},
        "own_lock": False,
        "bytes": 0,
        "own_bytes": 0,
        "last_used": None,
    }


def test_a_lock_of_one_s_own_is_told(
    waifu_llm: Run, own_home: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "locks" / "plain").mkdir(parents=True)
    (tmp_path / "locks" / "plain" / "requirements.lock").write_text("# nothing\n")
    assert waifu_llm("install", "plain", **own_home).returncode == 0
    assert "a lock of your own" in waifu_llm("list", **own_home).stdout


def test_profiles_are_listed(waifu_llm: Run, own_home: dict[str, str], tmp_path: Path) -> None:
    text = '[profiles.hilda]\nprovider = "plain"\nmodel = "tiny"\nkey = "work"\n'
    (tmp_path / "waifu-llm.toml").write_text(text)
    shown = waifu_llm("list", **own_home).stdout
    assert "hilda            profile of plain, model tiny\n" in shown
    listed = json.loads(waifu_llm("list", "--json", **own_home).stdout)
    (hilda,) = listed["profiles"]
    assert hilda == {"name": "hilda", "provider": "plain", "model": "tiny", "key": "work"}


async def test_what_is_loaded_is_told(waifu_llm: Run, module: Module) -> None:
    """Its address is where a module listens that was not told otherwise."""
    async with connect(module.url) as llm:
        await llm.load("echo")
        port = {"WAIFU_LLM_PORT": str(module.port)}
        listed = json.loads(waifu_llm("list", "--json", **port).stdout)
        shown = waifu_llm("list", **port).stdout
    echo = next(each for each in listed["providers"] if each["name"] == "echo")
    assert (echo["installed"], echo["loaded"], echo["from"]) == (True, True, "bundled")
    assert echo["bytes"] >= echo["own_bytes"] > 0
    assert datetime.now(UTC) - datetime.fromisoformat(echo["last_used"]) < timedelta(days=1)
    assert re.search(r"^echo +local +loaded +Echo\n +[\d.]+ MB, .* of its own, used ", shown, re.M)


def test_the_versions_of_what_a_provider_asks_for_are_told(waifu_llm: Run) -> None:
    listed = json.loads(waifu_llm("list", "--json").stdout)
    openai = next(each for each in listed["providers"] if each["name"] == "openai")
    lock = (bundled_providers() / "openai" / "requirements.lock").read_text("utf-8")
    assert set(openai["versions"]) == {"openai", "msgspec", "uvloop"}
    assert all(f"{name}=={version} " in lock for name, version in openai["versions"].items())
