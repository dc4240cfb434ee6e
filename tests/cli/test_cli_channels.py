"""`waifu-llm channels`, and the secrets of channels in `keys` and `doctor`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
SETTINGS = """
store = "sqlite"
[channels.sms]
provider = "echo"
model = "echo"
account_sid = "AC1"
number = "+15550001111"
public_url = "https://aria.example/sms"
[channels.lines]
kind = "none"
provider = "echo"
model = "echo"
"""
URL = ["--url", "ws://127.0.0.1:9"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "waifu-llm.toml").write_text(SETTINGS)
    return tmp_path


def test_what_keeps_a_channel_from_opening_is_shown(waifu_llm: Run, home: Path) -> None:
    own = {"WAIFU_LLM_HOME": str(home)}
    done = waifu_llm("channels", *URL, "--json", **own)
    told = json.loads(done.stdout)["channels"]
    assert done.returncode == 1
    assert "waifu-llm keys set channels.sms auth_token" in told["sms"]["last_trouble"]
    assert "no kind of channel `none`" in told["lines"]["last_trouble"]


def test_a_secret_is_stored_and_shown_nowhere(waifu_llm: Run, home: Path) -> None:
    own = {"WAIFU_LLM_HOME": str(home)}
    secret = "a-token-of-twilio"
    done = waifu_llm("keys", "set", "channels.sms", "auth_token", stdin=f"{secret}\n", **own)
    assert "is in" in done.stdout, done.stderr
    told = waifu_llm("channels", *URL, **own).stdout
    assert "channel sms (sms): not running" in told
    listed = waifu_llm("keys", "list", **own).stdout
    assert "channels.sms" in listed
    assert secret not in told + listed + done.stdout
    assert "removed" in waifu_llm("keys", "remove", "channels.sms", "auth_token", **own).stdout


@pytest.mark.parametrize(
    ("named", "told"),
    [
        (["channels.sms", "password"], "It has: `auth_token`"),
        (["channels.pigeon", "seed"], "There is no channel `pigeon`"),
        (["channels.sms", "auth_token", "--base-url", "http://x"], "leave --base-url out"),
    ],
)
def test_a_secret_that_no_channel_has_is_refused(
    waifu_llm: Run, home: Path, named: list[str], told: str
) -> None:
    done = waifu_llm("keys", "set", *named, stdin="x\n", WAIFU_LLM_HOME=str(home))
    assert (done.returncode, told in done.stderr) == (2, True), done.stderr


def test_a_module_without_a_store_says_that_channels_need_one(waifu_llm: Run, home: Path) -> None:
    (home / "waifu-llm.toml").write_text(SETTINGS.replace('store = "sqlite"', ""))
    done = waifu_llm("serve", "--port", "0", WAIFU_LLM_HOME=str(home))
    assert (done.returncode, "set `store`" in done.stderr) == (2, True), done.stderr
