"""`waifu-llm install`, `upgrade`, `uninstall` and `prune`."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import LIMIT, Module
from terminal import CTRL_C, TERMINAL, Terminal

from waifu_llm.client import connect

Run = Callable[..., Any]
FAKES = Path(__file__).parents[1] / "fake_providers"
SLOW = "import sys, time\nprint('begun', file=sys.stderr, flush=True)\ntime.sleep(3600)\n"


@pytest.fixture
def own_home(tmp_path: Path) -> dict[str, str]:
    """A home of the test's own, with a provider in it. No module runs there."""
    shutil.copytree(FAKES / "plain", tmp_path / "providers" / "plain")
    return {"WAIFU_LLM_HOME": str(tmp_path), "WAIFU_LLM_PORT": "9"}


def environments(home: dict[str, str]) -> list[Path]:
    folder = Path(home["WAIFU_LLM_HOME"], "provider_envs", "plain")
    return [each for each in folder.glob("*") if each.is_dir()]


def change_lock(home: dict[str, str]) -> None:
    lock = Path(home["WAIFU_LLM_HOME"], "providers", "plain", "requirements.lock")
    lock.write_text("# another\n", "utf-8")


def test_it_installs_and_says_so(waifu_llm: Run, own_home: dict[str, str]) -> None:
    first = waifu_llm("install", "plain", **own_home)
    assert first.returncode == 0
    assert first.stdout.startswith("plain is installed, after ")
    steps = ["Making an environment for Plain.", "Trying Plain."]
    assert first.stderr.splitlines()[:2] == [f"plain: {step}" for step in steps]
    again = waifu_llm("install", "plain", **own_home)
    assert (again.returncode, again.stdout) == (0, "plain is installed already.\n")


def test_as_json_it_tells_the_same(waifu_llm: Run, own_home: dict[str, str]) -> None:
    (first,) = json.loads(waifu_llm("install", "plain", "--json", **own_home).stdout)["providers"]
    (again,) = json.loads(waifu_llm("install", "plain", "--json", **own_home).stdout)["providers"]
    assert (first["name"], first["was_installed"], first["error"]) == ("plain", False, None)
    assert (again["was_installed"], again["seconds"]) == (True, 0.0)


def test_one_that_fails_keeps_no_other_from_it(waifu_llm: Run, own_home: dict[str, str]) -> None:
    torn = shutil.copytree(FAKES / "plain", Path(own_home["WAIFU_LLM_HOME"], "providers", "torn"))
    declared = (torn / "provider.toml").read_text("utf-8").replace('"plain"', '"torn"')
    (torn / "provider.toml").write_text(declared + 'python = ">=3.99"\n', "utf-8")
    ended = waifu_llm("install", "torn", "plain", **own_home)
    assert ended.returncode == 1
    assert "plain is installed, after " in ended.stdout
    assert "torn: `torn` needs Python >=3.99" in ended.stderr


def test_a_name_that_nobody_bears_is_an_error(waifu_llm: Run, own_home: dict[str, str]) -> None:
    for command in ("install", "upgrade", "uninstall"):
        ended = waifu_llm(command, "nope", **own_home)
        assert ended.returncode == 1
        assert ended.stderr.startswith("waifu-llm: There is no provider `nope`. Available: ")
        assert ", echo, " in ended.stderr


def test_what_was_removed_can_be_installed_again(waifu_llm: Run, own_home: dict[str, str]) -> None:
    waifu_llm("install", "plain", **own_home)
    removed = waifu_llm("uninstall", "plain", **own_home)
    assert removed.stdout.startswith("plain is removed (")
    assert environments(own_home) == []
    assert waifu_llm("uninstall", "plain", **own_home).stdout == "plain is not installed.\n"
    assert "is installed, after" in waifu_llm("install", "plain", **own_home).stdout


async def test_what_a_module_uses_is_not_removed(
    waifu_llm: Run, module: Module, home: Path
) -> None:
    async with connect(module.url) as llm:
        await llm.load("echo")
        ended = await asyncio.to_thread(waifu_llm, "uninstall", "echo")
    assert ended.returncode == 1
    assert "`echo` is in use by a running module" in ended.stderr


def test_an_upgrade_brings_what_is_wanted_now(waifu_llm: Run, own_home: dict[str, str]) -> None:
    assert waifu_llm("upgrade", **own_home).stdout == "Nothing is installed.\n"
    waifu_llm("install", "plain", **own_home)
    (old,) = environments(own_home)
    assert waifu_llm("upgrade", **own_home).stdout == "plain is installed already.\n"
    change_lock(own_home)
    assert "is installed, after" in waifu_llm("upgrade", **own_home).stdout
    (new,) = environments(own_home)
    assert new != old


def test_what_is_of_no_use_is_pruned(waifu_llm: Run, own_home: dict[str, str]) -> None:
    waifu_llm("install", "plain", **own_home)
    assert waifu_llm("prune", **own_home).stdout == "There was nothing to remove.\n"
    shutil.rmtree(Path(own_home["WAIFU_LLM_HOME"], "providers", "plain"))
    (folder,) = environments(own_home)
    assert waifu_llm("prune", **own_home).stdout.startswith(f"plain: {folder.name} is removed (")
    assert environments(own_home) == []


async def test_many_at_once_install_once(own_home: dict[str, str], start_at: Any) -> None:
    """Eight commands and eight loads of one module: a single installation, sixteen successes."""
    module = start_at(Path(own_home["WAIFU_LLM_HOME"]))
    command = [sys.executable, "-m", "waifu_llm", "install", "plain"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    installs = [
        await asyncio.create_subprocess_exec(*command, env={**os.environ, **own_home}, **pipes)
        for _ in range(8)
    ]

    async def load() -> None:
        async with connect(module.url) as llm:
            await llm.load("plain")

    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as loading:
        for _ in range(8):
            loading.create_task(load())
    said = [await each.communicate() for each in installs]
    assert [each.returncode for each in installs] == [0] * 8, said
    assert len(environments(own_home)) == 1


@pytest.fixture
def start_at() -> Iterator[Callable[[Path], Module]]:
    modules: list[Module] = []

    def start(home: Path) -> Module:
        modules.append(Module.start(home, (), {}))
        return modules[-1]

    yield start
    for module in modules:
        module.kill()


@TERMINAL
def test_a_terminal_sees_a_bar_and_ctrl_c_leaves_nothing(own_home: dict[str, str]) -> None:
    home = Path(own_home["WAIFU_LLM_HOME"])
    (home / "providers" / "plain" / "provider.py").write_text(SLOW, "utf-8")
    terminal = Terminal(home, "install", "plain")
    try:
        terminal.until("plain [######################..]  90 % Trying Plain.")
        terminal.type(CTRL_C)
        assert terminal.process.wait(LIMIT) == 130
        assert "plain: stopped. Nothing half-made is left." in terminal.rest()
    finally:
        terminal.close()
    assert environments(own_home) == []


@pytest.mark.skipif(os.name != "posix", reason="no such signal there")
def test_one_that_is_killed_leaves_nothing_that_the_next_needs_help_with(
    waifu_llm: Run, own_home: dict[str, str]
) -> None:
    source = Path(own_home["WAIFU_LLM_HOME"], "providers", "plain", "provider.py")
    good = source.read_text("utf-8")
    source.write_text(SLOW, "utf-8")
    command = [sys.executable, "-m", "waifu_llm", "install", "plain"]
    with subprocess.Popen(
        command, env={**os.environ, **own_home}, stderr=subprocess.PIPE, text=True
    ) as process:
        while "Trying" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGKILL)
    source.write_text(good, "utf-8")
    assert waifu_llm("install", "plain", **own_home).returncode == 0
    assert len(environments(own_home)) == 1
