"""What the command line advises works where it is read."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from waifu_llm.cli import advice

Run = Callable[..., Any]
POSIX = pytest.mark.skipif(os.name != "posix", reason="paths look otherwise there")


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder to stand in, in which an environment is; nothing is on the PATH."""
    script = tmp_path / ".venv" / "bin" / "waifu-llm"
    script.parent.mkdir(parents=True)
    script.touch()
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", str(script.with_name("python")))
    monkeypatch.chdir(tmp_path)
    advice.program.cache_clear()
    yield tmp_path
    advice.program.cache_clear()


@POSIX
def test_on_the_path_the_name_will_do(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / ".venv" / "bin" / "waifu-llm").chmod(0o755)
    monkeypatch.setenv("PATH", str(place / ".venv" / "bin"))
    assert advice.program() == "waifu-llm"


@POSIX
def test_elsewhere_it_is_the_shorter_path(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert advice.program() == ".venv/bin/waifu-llm"
    monkeypatch.chdir("/")
    advice.program.cache_clear()
    assert advice.program() == str(place / ".venv/bin/waifu-llm").removeprefix("/")
    away = place.joinpath(*"abcdefghijklmnopqrstuvwxyz" * 2)
    away.mkdir(parents=True)
    monkeypatch.chdir(away)
    advice.program.cache_clear()
    assert advice.program() == str(place / ".venv/bin/waifu-llm")


@POSIX
def test_right_beside_it_the_name_alone_would_not_be_found(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place / ".venv" / "bin")
    assert advice.program() == "./waifu-llm"


@POSIX
def test_a_path_can_be_pasted(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / ".venv").rename(place / "my venv")
    monkeypatch.setattr(sys, "executable", str(place / "my venv" / "bin" / "python"))
    assert advice.program() == "'my venv/bin/waifu-llm'"


@POSIX
def test_without_a_script_it_runs_as_a_module(place: Path) -> None:
    (place / ".venv" / "bin" / "waifu-llm").unlink()
    assert advice.program() == f"{sys.executable} -m waifu_llm"


@pytest.mark.usefixtures("place")
def test_what_other_rooms_advise_is_put_right() -> None:
    said = advice.advised("Start one with `waifu-llm serve`, the waifu-llm of old.")
    assert said == f"Start one with `{advice.program()} serve`, the waifu-llm of old."


@pytest.mark.parametrize("arguments", [["status", "--dance"], ["config", "now"]])
def test_wrong_usage_advises_a_help_that_can_be_had(waifu_llm: Run, arguments: list[str]) -> None:
    assert f"Try '{advice.program()} {arguments[0]} " in waifu_llm(*arguments).stderr
