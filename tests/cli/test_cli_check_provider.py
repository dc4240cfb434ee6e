"""`waifu-llm check-provider`"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from waifu_llm.conformance import CHECKS

Run = Callable[..., Any]
ROOT = Path(__file__).parents[2]
ECHO = ROOT / "providers" / "echo"
FAKES = ROOT / "tests" / "fake_providers"
KEY = "wrong-canary-0123456789"


def test_it_tells_each_check_and_concludes(waifu_llm: Run) -> None:
    ended = waifu_llm("check-provider", str(ECHO), "--embed-model", "echo")
    *lines, conclusion = ended.stdout.splitlines()
    assert ended.returncode == 0
    assert [line.split(maxsplit=1) for line in lines] == [["passed", name] for name in CHECKS]
    assert conclusion == f"`echo` passed {len(CHECKS)} checks."


def test_what_fails_is_told_with_its_reason(waifu_llm: Run) -> None:
    ended = waifu_llm("check-provider", str(FAKES / "plain"))
    (failed,) = (line for line in ended.stdout.splitlines() if line.startswith("failed"))
    assert ended.returncode == 1
    assert failed.split(maxsplit=1)[1].startswith("error mapping: It answered as a model")
    assert f"`plain` failed 1 of {len(CHECKS)} checks, 5 skipped." in ended.stdout


def test_as_json_it_tells_the_same(waifu_llm: Run) -> None:
    ended = waifu_llm("check-provider", str(FAKES / "plain"), "--json", "--model", "other")
    told = json.loads(ended.stdout)
    assert ended.returncode == 1
    assert (told["provider"], told["passed"]) == ("plain", False)
    assert told["folder"] == str(FAKES / "plain")
    assert [check["name"] for check in told["checks"]] == list(CHECKS)
    assert told["checks"][0] == {"name": "install", "outcome": "passed", "why": ""}
    assert {check["outcome"] for check in told["checks"]} == {
        *("passed", "failed", "skipped"),
    }


def test_it_points_to_the_log_where_there_is_one(waifu_llm: Run, new_home: Path) -> None:
    home = {"WAIFU_LLM_HOME": str(new_home)}
    quiet = waifu_llm("check-provider", str(FAKES / "plain"), **home)
    loud = waifu_llm("check-provider", str(FAKES / "noisy"), **home)
    assert " logs " not in quiet.stdout
    assert " logs noisy` shows what it wrote to stderr." in loud.stdout
    assert "a grandchild" in waifu_llm("logs", "noisy", **home).stdout


def test_settings_come_from_flags_and_keys_from_their_variables(waifu_llm: Run) -> None:
    keyed = str(FAKES / "keyed")
    flags = ["--set", "base_url=http://there.example", "--set", "retries=3", "--model", "whoami"]
    ended = waifu_llm("check-provider", keyed, *flags, KEYED_API_KEY="right-0123456789")
    assert "passed   stream" in ended.stdout
    assert "passed   load" in ended.stdout


@pytest.mark.parametrize("by_flag", [True, False])
@pytest.mark.parametrize("json_flag", [[], ["--json"]])
def test_no_key_is_printed(waifu_llm: Run, by_flag: bool, json_flag: list[str]) -> None:
    flags = ["--set", f"api_key={KEY}"] if by_flag else []
    variables = {} if by_flag else {"KEYED_API_KEY": KEY}
    ended = waifu_llm("check-provider", str(FAKES / "keyed"), *flags, *json_flag, **variables)
    assert ended.returncode == 1
    assert "Incorrect API key provided: ***." in ended.stdout
    assert KEY not in ended.stdout + ended.stderr


def test_a_key_that_is_missing_is_asked_for(waifu_llm: Run) -> None:
    ended = waifu_llm("check-provider", str(FAKES / "keyed"))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "KEYED_API_KEY" in ended.stderr
    assert "`--set NAME=VALUE` gives a setting" in ended.stderr


@pytest.mark.parametrize(
    ("flags", "status", "told"),
    [
        (["--set", "retries=many"], 1, "The stored `retries` should be `integer`"),
        (["--set", "colour=red"], 1, "has no setting `colour`. It has: api_key, base_url, retries"),
        (["--set", "retries"], 2, "A setting is given as NAME=VALUE."),
        (["--seconds", "0"], 2, "--seconds"),
    ],
)
def test_what_cannot_be_set_is_told(
    flags: list[str], status: int, told: str, waifu_llm: Run
) -> None:
    ended = waifu_llm("check-provider", str(FAKES / "keyed"), *flags, KEYED_API_KEY="right-1234")
    assert (ended.returncode, ended.stdout) == (status, "")
    assert told in ended.stderr


def test_a_folder_without_a_declaration_is_told(waifu_llm: Run, tmp_path: Path) -> None:
    ended = waifu_llm("check-provider", str(tmp_path))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"Cannot read {tmp_path / 'provider.toml'}" in ended.stderr


def test_a_folder_that_is_none_is_wrong_usage(waifu_llm: Run, tmp_path: Path) -> None:
    assert waifu_llm("check-provider", str(tmp_path / "none")).returncode == 2


def test_an_extension_is_checked_with_what_it_extends(waifu_llm: Run, tmp_path: Path) -> None:
    (tmp_path / "provider.toml").write_text('name = "reply"\ntitle = "Reply"\nextends = "echo"')
    ended = waifu_llm("check-provider", str(tmp_path))
    assert ended.returncode == 0, ended.stdout
    (tmp_path / "provider.toml").write_text('name = "reply"\ntitle = "R"\nextends = "nobody"')
    ended = waifu_llm("check-provider", str(tmp_path))
    assert ended.returncode == 1
    assert "There is no provider `nobody`." in ended.stderr


def test_what_cannot_be_imported_is_told_as_the_installation_s_failure(
    waifu_llm: Run, tmp_path: Path
) -> None:
    folder = shutil.copytree(FAKES / "plain", tmp_path / "torn")
    declared = (folder / "provider.toml").read_text("utf-8").replace("plain", "torn")
    (folder / "provider.toml").write_text(declared, "utf-8")
    (folder / "provider.py").write_text("import nothing_of_this_name\n", "utf-8")
    ended = waifu_llm("check-provider", str(folder))
    assert ended.returncode == 1
    assert "failed   install: INSTALL_FAILED" in ended.stdout
    assert "nothing_of_this_name" in ended.stdout
    assert "skipped  handshake: It needs `install`, which failed." in ended.stdout
