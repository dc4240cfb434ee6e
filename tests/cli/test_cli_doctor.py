"""`waifu-llm doctor`: what it finds, and what it advises."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_upstreams.running import RunningUpstream, running_upstream

Run = Callable[..., Any]
FAKES = Path(__file__).parents[1] / "fake_providers"
KEY = "sk-doctor-canary-0123456789"
WELL = ["environment", "settings", "process", "load", "first token", "interrupt"]
STUBBORN = """
import threading
from waifu_provider import Provider

class Stubborn(Provider):
    def models(self):
        return ["stubborn"]
    def generate(self, request):
        yield "one"
        threading.Event().wait()
"""


@pytest.fixture
def own_home(tmp_path: Path) -> dict[str, str]:
    return {"WAIFU_LLM_HOME": str(tmp_path), "WAIFU_LLM_PORT": "9"}


@pytest.fixture
def put(own_home: dict[str, str], waifu_llm: Run) -> Callable[[str], Path]:
    """Puts one of the fake providers there, and installs it."""

    def put(name: str) -> Path:
        folder = Path(own_home["WAIFU_LLM_HOME"], "providers", name)
        shutil.copytree(FAKES / name, folder)
        waifu_llm("install", name, **own_home)
        return folder

    return put


@pytest.fixture(scope="module")
def upstream() -> Iterator[RunningUpstream]:
    with running_upstream() as running:
        yield running


def steps(ended: Any, about: str) -> list[tuple[str, str]]:
    report = json.loads(ended.stdout)["findings"]
    return [(each["step"], each["state"]) for each in report if each["about"] == about]


def test_one_that_is_well(waifu_llm: Run, own_home: dict[str, str]) -> None:
    waifu_llm("install", "echo", **own_home)
    ended = waifu_llm("doctor", "echo", "--json", **own_home)
    assert ended.returncode == 0
    assert steps(ended, "echo") == [(step, "ok") for step in WELL]
    assert dict(steps(ended, "module")).keys() == {"python", "uv", "home", "running"}


def test_for_people_it_says_the_same(waifu_llm: Run, own_home: dict[str, str]) -> None:
    waifu_llm("install", "echo", **own_home)
    lines = waifu_llm("doctor", "echo", **own_home).stdout.splitlines()
    said = {line[15:27].strip(): line[28:30] for line in lines if line.startswith("echo ")}
    assert said == dict.fromkeys(WELL, "ok")


def test_what_is_not_installed_is_passed_over_with_what_to_run(
    waifu_llm: Run, own_home: dict[str, str]
) -> None:
    ended = waifu_llm("doctor", "echo", **own_home)
    assert ended.returncode == 0
    assert "It is not installed." in ended.stdout
    assert "install echo`" in ended.stdout


def test_what_is_outdated_fails(waifu_llm: Run, own_home: dict[str, str], put: Any) -> None:
    (put("plain") / "requirements.lock").write_text("# another\n")
    ended = waifu_llm("doctor", "plain", "--json", **own_home)
    assert ended.returncode == 1
    assert steps(ended, "plain") == [("environment", "failed")]
    assert "upgrade plain`" in ended.stdout


def test_a_process_that_ends_is_found(waifu_llm: Run, own_home: dict[str, str], put: Any) -> None:
    put("crasher")
    ended = waifu_llm("doctor", "crasher", "--json", **own_home)
    assert ended.returncode == 1
    assert steps(ended, "crasher")[-1] == ("interrupt", "failed")
    assert "Its process ended." in ended.stdout


def test_one_that_ignores_an_interrupt_is_found(
    waifu_llm: Run, own_home: dict[str, str], put: Any
) -> None:
    (put("stubborn") / "provider.py").write_text(STUBBORN, "utf-8")
    ended = waifu_llm("doctor", "stubborn", "--json", **own_home)
    assert ended.returncode == 1
    assert steps(ended, "stubborn")[-1] == ("interrupt", "failed")
    assert "It did not obey." in ended.stdout


def test_a_broken_plugin_is_found(waifu_llm: Run, own_home: dict[str, str]) -> None:
    torn = Path(own_home["WAIFU_LLM_HOME"], "providers", "torn")
    torn.mkdir(parents=True)
    (torn / "provider.toml").write_text("name = ")
    ended = waifu_llm("doctor", "--json", **own_home)
    assert (ended.returncode, ("provider", "failed") in steps(ended, "module")) == (1, True)
    assert waifu_llm("doctor", "echo", **own_home).returncode == 0  # it was not asked about


def test_settings_for_nobody_are_found(waifu_llm: Run, own_home: dict[str, str]) -> None:
    file = Path(own_home["WAIFU_LLM_HOME"], "waifu-llm.toml")
    file.write_text("[providers.openia]\n")
    ended = waifu_llm("doctor", "--json", **own_home)
    assert (ended.returncode, ("settings", "failed") in steps(ended, "module")) == (1, True)
    assert "There are settings for `openia`" in ended.stdout


@pytest.mark.parametrize(
    ("name", "table", "state", "words"),
    [
        ("hilda", 'provider = "echo"', "ok", "It stands for `echo`."),
        ("hilda", 'provider = "openai"', "skipped", "needs a key"),
        ("hilda", 'provider = "openai"\nkey = "work"', "failed", "no stored key `work`"),
        ("hilda", 'provider = "nowhere"', "failed", "There is no provider `nowhere`"),
        ("hilda", 'provider = "echo"\nsettings = { mood = 1 }', "failed", "no setting `mood`"),
        ("echo", 'provider = "echo"', "failed", "named like a provider"),
    ],
)
def test_each_profile_is_looked_at(
    waifu_llm: Run, own_home: dict[str, str], tmp_path: Path,
    name: str, table: str, state: str, words: str,
) -> None:  # fmt: skip
    (tmp_path / "waifu-llm.toml").write_text(f"[profiles.{name}]\n{table}\n")
    ended = waifu_llm("doctor", "echo", "--json", **own_home, OPENAI_API_KEY="")
    assert ("profile", state) in steps(ended, name)
    assert words in ended.stdout
    assert ended.returncode == (1 if state == "failed" else 0)


def test_a_profile_can_be_examined_like_a_provider(
    waifu_llm: Run, own_home: dict[str, str], tmp_path: Path
) -> None:
    waifu_llm("install", "echo", **own_home)
    (tmp_path / "waifu-llm.toml").write_text('[profiles.hilda]\nprovider = "echo"\nmodel = "count"')
    ended = waifu_llm("doctor", "hilda", "--json", **own_home)
    assert steps(ended, "hilda") == [("profile", "ok"), *((step, "ok") for step in WELL)]
    assert "count spoke after" in ended.stdout


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_key_that_others_can_read_is_found(
    waifu_llm: Run, own_home: dict[str, str], tmp_path: Path
) -> None:
    settings = tmp_path / "waifu-llm.toml"
    settings.write_text(f'[providers.openai]\napi_key = "{KEY}"\n')
    settings.chmod(0o644)
    ended = waifu_llm("doctor", "echo", "--json", **own_home)
    assert (ended.returncode, ("settings", "failed") in steps(ended, "module")) == (1, True)
    assert "chmod 600" in ended.stdout
    assert KEY not in ended.stdout


def test_without_a_key_it_says_where_to_get_one(waifu_llm: Run, openai_installed: None) -> None:
    ended = waifu_llm("doctor", "openai", "--json")
    assert ended.returncode == 0
    assert steps(ended, "openai") == [("environment", "ok"), ("settings", "skipped")]
    assert "https://platform.openai.com/api-keys" in ended.stdout


@pytest.mark.parametrize(
    ("key", "last", "status"),
    [(KEY, ("interrupt", "ok"), 0), (f"wrong-{KEY}", ("load", "failed"), 1)],
)
def test_a_key_is_tried_where_it_belongs_and_never_shown(
    waifu_llm: Run, home: Path, openai_installed: None, upstream: RunningUpstream,
    key: str, last: tuple[str, str], status: int,
) -> None:  # fmt: skip
    settings = home / "waifu-llm.toml"
    table = f'[providers.openai]\napi_key = "{key}"\nbase_url = "{upstream.base_url}"\n'
    settings.touch(mode=0o600)
    settings.write_text(table, "utf-8")
    try:
        ended = waifu_llm("doctor", "openai", "--json")
    finally:
        settings.unlink()
    assert (ended.returncode, steps(ended, "openai")[-1]) == (status, last)
    assert KEY not in ended.stdout + ended.stderr
    assert {each["key"] for each in upstream.log()} >= {key}


def test_a_model_can_be_named_for_one_provider(waifu_llm: Run, own_home: dict[str, str]) -> None:
    waifu_llm("install", "echo", **own_home)
    assert waifu_llm("doctor", "echo", "--model", "count", **own_home).returncode == 0
    wrong = waifu_llm("doctor", "echo", "--model", "nope", "--json", **own_home)
    assert (wrong.returncode, steps(wrong, "echo")[-1]) == (1, ("first token", "failed"))
    several = waifu_llm("doctor", "--model", "count", **own_home)
    assert (several.returncode, "--model needs one provider" in several.stderr) == (2, True)
