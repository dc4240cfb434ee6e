"""`waifu-llm new-provider`: what comes out works, is tested, and can be changed."""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import LIMIT, Module

from waifu_llm.client import connect
from waifu_llm.specs import ProviderSpec

Run = Callable[..., Any]
FILES = ["README.md", "provider.py", "provider.toml"]


@pytest.fixture
def own_home(tmp_path: Path) -> Path:
    """At a path that needs quotes."""
    return tmp_path / "my home"


@pytest.fixture
def run(waifu_llm: Run, own_home: Path) -> Run:
    return functools.partial(waifu_llm, WAIFU_LLM_HOME=str(own_home))


def commands(printed: str) -> list[str]:
    """What the next steps say to type."""
    return [line.strip() for line in printed.splitlines() if line.startswith("  ")]


def typed(command: str, own_home: Path, *more: str) -> subprocess.CompletedProcess[str]:
    words = [*shlex.split(command), *more]
    environ = {**os.environ, "WAIFU_LLM_HOME": str(own_home)}
    return subprocess.run(words, env=environ, capture_output=True, text=True, timeout=LIMIT)


def test_it_lies_where_the_module_finds_it(run: Run, own_home: Path) -> None:
    made = run("new-provider", "my-llm")
    folder = own_home / "providers" / "my-llm"
    assert made.returncode == 0
    assert str(folder) in made.stdout
    assert sorted(file.name for file in folder.iterdir()) == [*FILES, "test_my_llm.py"]
    assert "my-llm " in run("list").stdout
    assert ProviderSpec.from_folder(folder).entry == "provider:MyLlmProvider"


@pytest.mark.skipif(os.name != "posix", reason="a shell's words are other ones there")
async def test_the_next_steps_run_as_they_are_printed(
    run: Run, own_home: Path, start_module: Callable[..., Module]
) -> None:
    check, serve, chat = commands(run("new-provider", "parrot").stdout)
    checked = typed(check, own_home)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "`parrot` passed " in checked.stdout
    assert typed(serve, own_home, "--help").returncode == 0
    module = start_module(WAIFU_LLM_HOME=str(own_home))
    assert typed(chat, own_home, "--url", module.url, "--help").returncode == 0
    async with connect(module.url) as llm:
        await llm.load("parrot")
        assert (await llm.generate("Hello you", model="parrot")).response == "Hello you "


def test_its_test_passes_as_it_comes_out(run: Run, own_home: Path, tmp_path: Path) -> None:
    run("new-provider", "3.my_llm", "--into", str(tmp_path))
    test = tmp_path / "3.my_llm" / "test_3_my_llm.py"
    for command in ([str(test)], ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]):
        ended = typed(shlex.join([sys.executable, *command]), own_home)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "passed" in ended.stdout


def test_its_test_fails_when_it_is_broken(run: Run, own_home: Path, tmp_path: Path) -> None:
    run("new-provider", "broken", "--into", str(tmp_path))
    code = tmp_path / "broken" / "provider.py"
    code.write_text(code.read_text("utf-8").replace("INVALID_MODEL", "NO_SUCH_CODE"), "utf-8")
    ended = typed(
        shlex.join([sys.executable, str(tmp_path / "broken" / "test_broken.py")]), own_home
    )
    assert ended.returncode == 1
    assert "error mapping" in ended.stderr


def test_nothing_of_the_template_s_name_is_left(run: Run, tmp_path: Path) -> None:
    run("new-provider", "my-llm", "--into", str(tmp_path))
    for file in (tmp_path / "my-llm").iterdir():
        assert "newcomer" not in file.read_text("utf-8").lower()


def test_elsewhere_it_says_how_it_is_found(run: Run, own_home: Path, tmp_path: Path) -> None:
    made = run("new-provider", "my-llm", "--into", str(tmp_path / "new" / "place"))
    assert (tmp_path / "new" / "place" / "my-llm" / "provider.toml").is_file()
    assert f"once its folder is in {own_home / 'providers'}." in made.stdout
    assert len(commands(made.stdout)) == 1


@pytest.mark.parametrize("name", ["My", "", "-x", "a b", "../x", "かな", "x" * 65])
def test_a_name_that_cannot_be_is_refused(name: str, run: Run, own_home: Path) -> None:
    ended = run("new-provider", "--", name)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"`{name}` cannot be a provider's name." in ended.stderr
    assert not (own_home / "providers").exists()


def test_a_name_that_somebody_has_is_refused(run: Run, own_home: Path, tmp_path: Path) -> None:
    ended = run("new-provider", "echo", "--into", str(tmp_path))
    assert ended.returncode == 1
    assert "There is a provider `echo` already" in ended.stderr
    assert not (tmp_path / "echo").exists()


def test_a_folder_that_is_there_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    ended = run("new-provider", "mine", "--into", str(tmp_path))
    assert ended.returncode == 1
    assert f"There is something at {tmp_path / 'mine'} already." in ended.stderr
    assert list((tmp_path / "mine").iterdir()) == []
