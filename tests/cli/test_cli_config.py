"""`waifu-llm config`"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from waifu_llm import config

Run = Callable[..., Any]


@pytest.fixture
def own_home(tmp_path: Path) -> dict[str, str]:
    """A home with a file that sets something."""
    lines = ["port = 7000", "max_waiting = 9", "[providers.keyed]", 'api_key = "stored-key"']
    (tmp_path / "waifu-llm.toml").write_text("\n".join(lines))
    return {"WAIFU_LLM_HOME": str(tmp_path), "WAIFU_LLM_PORT": "7001"}


def test_every_setting_is_shown_with_its_value_and_source(
    waifu_llm: Run, own_home: dict[str, str], tmp_path: Path
) -> None:
    shown = waifu_llm("config", **own_home).stdout
    lines = {line.partition(" = ")[0]: line for line in shown.splitlines()}
    assert {each.name for each in config.settings()} <= lines.keys()
    assert "port = 7001 " in lines["port"]
    assert lines["port"].endswith("(WAIFU_LLM_PORT)")
    assert lines["max_waiting"].endswith(f"({tmp_path / 'waifu-llm.toml'})")
    assert lines["host"].startswith('host = "127.0.0.1"')
    assert lines["host"].endswith("(default)")


def test_as_json_it_tells_the_same(
    waifu_llm: Run, own_home: dict[str, str], tmp_path: Path
) -> None:
    shown = json.loads(waifu_llm("config", "--json", **own_home).stdout)
    rows = {row["name"]: row for row in shown["settings"]}
    assert shown["file"] == str(tmp_path / "waifu-llm.toml")
    assert rows.keys() == {each.name for each in config.settings()}
    assert (rows["port"]["value"], rows["port"]["source"]) == (7001, "WAIFU_LLM_PORT")
    assert rows["idle_seconds"]["source"] == "default"
    assert all(row["help"] for row in rows.values())


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_secrets_are_not_shown(waifu_llm: Run, own_home: dict[str, str], flags: list[str]) -> None:
    shown = waifu_llm("config", *flags, WAIFU_LLM_TOKEN="very-secret", **own_home).stdout
    assert "***" in shown
    assert "very-secret" not in shown
    assert "stored-key" not in shown


@pytest.mark.parametrize("number", ["inf", "nan", "-inf", "1e999"])
def test_no_setting_is_what_json_cannot_say(waifu_llm: Run, number: str) -> None:
    ended = waifu_llm("config", "--json", WAIFU_LLM_IDLE_SECONDS=number)
    assert ended.returncode == 2
    assert "`idle_seconds` (from WAIFU_LLM_IDLE_SECONDS) should be a number" in ended.stderr


@pytest.mark.skipif(os.name != "posix", reason="every name is text there")
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_home_whose_name_is_no_text_is_no_crash(
    waifu_llm: Run, tmp_path: Path, flags: list[str]
) -> None:
    ended = waifu_llm("config", *flags, WAIFU_LLM_HOME=f"{tmp_path}/\udcff")
    assert ended.returncode == 0
    assert not flags or json.loads(ended.stdout)


def test_what_the_file_keeps_for_providers_is_named(
    waifu_llm: Run, own_home: dict[str, str]
) -> None:
    assert "[providers.keyed]  # api_key" in waifu_llm("config", **own_home).stdout


def test_profiles_are_named_with_what_they_set(waifu_llm: Run, tmp_path: Path) -> None:
    profile = '[profiles.hilda]\nprovider = "echo"\nsettings = { api_key = "stored-key" }\n'
    (tmp_path / "waifu-llm.toml").write_text(profile)
    home = {"WAIFU_LLM_HOME": str(tmp_path)}
    shown = waifu_llm("config", **home).stdout
    assert "[profiles.hilda]  # provider, settings" in shown
    as_json = waifu_llm("config", "--json", **home).stdout
    assert json.loads(as_json)["profiles"] == {"hilda": ["provider", "settings"]}
    assert "stored-key" not in shown + as_json


def test_a_file_that_is_not_there_is_said_to_be_so(waifu_llm: Run, tmp_path: Path) -> None:
    shown = waifu_llm("config", WAIFU_LLM_HOME=str(tmp_path)).stdout
    assert shown.startswith(f"# {tmp_path / 'waifu-llm.toml'} (not there)\n")


@pytest.mark.parametrize("text", ["port = ", "prot = 1", "port = 'x'", "providers = 1"])
def test_a_file_that_cannot_be_used_is_named(waifu_llm: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "waifu-llm.toml").write_text(text)
    ended = waifu_llm("config", WAIFU_LLM_HOME=str(tmp_path))
    assert ended.returncode == 2
    assert str(tmp_path / "waifu-llm.toml") in ended.stderr
