"""`waifu-llm keys`: what it keeps, and what it never shows."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import LIMIT
from terminal import TERMINAL, Terminal

Run = Callable[..., Any]
TESTS = Path(__file__).parents[1]
KEY = "sk-canary-0123456789-abcd"
HOME = "https://keyed.example"


@pytest.fixture
def own_home(tmp_path: Path) -> dict[str, str]:
    shutil.copytree(TESTS / "fake_providers" / "keyed", tmp_path / "providers" / "keyed")
    return {"WAIFU_LLM_HOME": str(tmp_path), "WAIFU_LLM_PORT": "9", "KEYED_API_KEY": ""}


@pytest.fixture
def keys(waifu_llm: Run, own_home: dict[str, str]) -> Run:
    """Runs `waifu-llm keys …`. What it says holds no key."""

    def run(*arguments: str, stdin: str = "", **environ: str) -> Any:
        ended = waifu_llm("keys", *arguments, stdin=stdin, **{**own_home, **environ})
        assert KEY not in ended.stdout + ended.stderr
        return ended

    return run


def listed(keys: Run, **environ: str) -> list[tuple[str, str, str, str, str]]:
    rows = json.loads(keys("list", "--json", **environ).stdout)["keys"]
    return [tuple(row.values()) for row in rows if row["provider"] == "keyed"]  # type: ignore[misc]


def test_a_key_is_read_from_stdin_and_kept(keys: Run, tmp_path: Path) -> None:
    ended = keys("set", "keyed", stdin=f"  {KEY}\nmore\n")
    file = tmp_path / "keys.json"
    assert ended.returncode == 0
    assert ended.stdout == f"The key `default` of `keyed` for {HOME} is in {file}.\n"
    assert KEY in file.read_text("utf-8")
    assert listed(keys) == [("keyed", "default", HOME, "file", "abcd")]
    assert keys("list").stdout.split() == ["keyed", "default", HOME, "file", "…abcd"]


@TERMINAL
def test_at_a_terminal_it_is_asked_for_and_not_shown(
    own_home: dict[str, str], tmp_path: Path
) -> None:
    terminal = Terminal(tmp_path, "keys", "set", "keyed")
    try:
        terminal.until("Key of Keyed: ")
        terminal.enter(KEY)
        shown = terminal.until("keys.json")
        assert terminal.process.wait(LIMIT) == 0
        assert KEY not in shown + terminal.rest()
    finally:
        terminal.close()
    assert KEY in (tmp_path / "keys.json").read_text("utf-8")


def test_it_can_not_be_given_as_an_argument(keys: Run) -> None:
    for arguments in (["--api-key", "k"], ["default", "k"]):
        assert keys("set", "keyed", *arguments).returncode == 2


@pytest.mark.parametrize("text", ["", "\n", "a b\n", "schlüssel\n", "a\tb\n"])
def test_what_can_be_no_key_is_refused(keys: Run, tmp_path: Path, text: str) -> None:
    ended = keys("set", "keyed", stdin=text)
    assert (ended.returncode, "one line of ASCII" in ended.stderr) == (2, True)
    assert not (tmp_path / "keys.json").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["set", "echo"], 2, "`echo` takes no key"),
        (["set", "keyed", "a/b"], 2, "is no name for a key"),
        (["set", "nowhere"], 1, "There is no provider `nowhere`"),
        (["set", "keyed", "--base-url", "box"], 1, "should be an http or https address"),
        (["remove", "keyed"], 1, "There is no key `default` of `keyed`"),
    ],
)
def test_what_can_not_be_done_is_said(
    keys: Run, arguments: list[str], status: int, words: str
) -> None:
    ended = keys(*arguments, stdin=KEY)
    assert (ended.returncode, words in ended.stderr) == (status, True)


def test_each_address_has_keys_of_its_own(keys: Run) -> None:
    keys("set", "keyed", stdin=KEY)
    keys("set", "keyed", "--base-url", "http://BOX:80/v1", stdin="short")
    keys("set", "keyed", "work", stdin=KEY)
    assert listed(keys) == [
        ("keyed", "default", "http://box", "file", ""),
        ("keyed", "default", HOME, "file", "abcd"),
        ("keyed", "work", HOME, "file", "abcd"),
    ]
    several = keys("remove", "keyed")
    assert (several.returncode, f"http://box, {HOME}" in several.stderr) == (2, True)
    assert keys("remove", "keyed", "--base-url", "http://box").returncode == 0
    assert keys("remove", "keyed", "work").returncode == 0
    assert listed(keys) == [("keyed", "default", HOME, "file", "abcd")]


def test_a_key_belongs_where_the_provider_is_set_to_ask(keys: Run, tmp_path: Path) -> None:
    table = '[providers.keyed]\nbase_url = "http://box:8000/v1"\n'
    (tmp_path / "waifu-llm.toml").write_text(table)
    keys("set", "keyed", stdin=KEY)
    assert listed(keys) == [("keyed", "default", "http://box:8000", "file", "abcd")]


def test_what_comes_before_a_stored_key_is_told(keys: Run, tmp_path: Path) -> None:
    (tmp_path / "waifu-llm.toml").write_text(f'[providers.keyed]\napi_key = "{KEY}"\n')
    variable = {"KEYED_API_KEY": KEY}
    ended = keys("set", "keyed", stdin=KEY, **variable)
    assert "One from waifu-llm.toml is there too, and comes first." in ended.stderr
    assert "One from KEYED_API_KEY is there too, and comes first." in ended.stderr
    places = [row[3] for row in listed(keys, **variable)]
    assert places == ["waifu-llm.toml", "KEYED_API_KEY", "file"]
    assert keys("set", "keyed", "work", stdin=KEY, **variable).stderr == ""


def test_a_key_can_be_kept_in_the_keyring(keys: Run, tmp_path: Path) -> None:
    ring = {
        "WAIFU_LLM_KEYRING": "1",
        "FAKE_KEYRING": str(tmp_path / "ring.json"),
        "PYTHONPATH": f"{TESTS / 'fake_keyring'}{os.pathsep}{TESTS.parent}",
    }
    assert "is in the system's keyring" in keys("set", "keyed", stdin=KEY, **ring).stdout
    assert KEY not in (tmp_path / "keys.json").read_text("utf-8")
    assert listed(keys) == [("keyed", "default", HOME, "keyring", "")]
    assert "has 3 models" in keys("test", "keyed", **ring).stdout
    assert "`keyring` is off" in keys("test", "keyed").stderr
    assert keys("remove", "keyed", **ring).returncode == 0
    assert json.loads((tmp_path / "ring.json").read_text()) == {}


def test_without_the_library_the_extra_is_named(keys: Run, tmp_path: Path) -> None:
    (tmp_path / "keyring.py").write_text("raise ImportError")
    path = f"{tmp_path}{os.pathsep}{TESTS.parent}"
    ended = keys("set", "keyed", stdin=KEY, WAIFU_LLM_KEYRING="1", PYTHONPATH=path)
    assert (ended.returncode, "[keyring]" in ended.stderr) == (1, True)


def test_a_key_is_tried_and_the_status_tells(keys: Run) -> None:
    """The first of them installs the provider."""
    keys("set", "keyed", stdin=KEY)
    keys("set", "keyed", "typo", stdin=f"wrong-{KEY}")
    well, wrong, missing = (keys("test", "keyed", *name) for name in ([], ["typo"], ["nosuch"]))
    assert (well.returncode, wrong.returncode, missing.returncode) == (0, 1, 1)
    assert "keyed: The key works, and it has 3 models." in well.stdout
    assert "Incorrect API key provided: ***" in wrong.stderr
    assert "no stored key `nosuch`" in missing.stderr


def test_the_key_of_a_profile_can_be_tried(keys: Run, tmp_path: Path) -> None:
    profile = '[profiles.hilda]\nprovider = "keyed"\nkey = "work"\n'
    (tmp_path / "waifu-llm.toml").write_text(profile)
    assert "no stored key `work`" in keys("test", "hilda").stderr
    keys("set", "keyed", "work", stdin=KEY)
    assert keys("test", "hilda").returncode == 0


def test_nothing_is_listed_where_there_is_nothing(keys: Run) -> None:
    assert keys("list").stdout == ""
