"""docs/providers.md works as it stands: its folders are made, checked, loaded and asked."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import LIMIT, Module

from waifu_llm.client import connect
from waifu_llm.conformance import CHECKS
from waifu_llm.errors import BY_CODE, Authorization
from waifu_llm.provider_host import waifu_provider

PAGE = (Path(__file__).parents[1] / "docs" / "providers.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+) (\S+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
KEY = "cracker"

Run = Callable[..., Any]


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with every file that the page shows."""
    for _, path, text in BLOCKS:
        if path != "run":
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text, "utf-8")
    return tmp_path


@pytest.fixture
def own_home(desk: Path) -> Path:
    """A home in which the page's folders were dropped."""
    for name in ("parrot", "abacus", "finch"):
        shutil.copytree(desk / name, desk / "home" / "providers" / name)
    return desk / "home"


def commands() -> list[str]:
    return [line for _, path, text in BLOCKS if path == "run" for line in text.splitlines()]


def typed(command: str, desk: Path) -> subprocess.CompletedProcess[str]:
    """Run it as a shell would: variables stand before the program."""
    words = shlex.split(command)
    variables = dict(word.split("=", 1) for word in words if word.startswith("PARROT_"))
    program, *arguments = words[len(variables) :]
    assert program == "waifu-llm"
    environ = {**os.environ, "WAIFU_LLM_HOME": str(desk / "own"), "PYTHONUTF8": "1", **variables}
    whole = [sys.executable, "-m", "waifu_llm", *arguments]
    return subprocess.run(
        whole, cwd=desk, env=environ, capture_output=True, encoding="utf-8", timeout=LIMIT
    )


def test_the_commands_run_as_they_are_shown(desk: Path) -> None:
    shown = commands()
    assert len(shown) == 4
    for command in shown:
        ended = typed(command, desk)
        assert ended.returncode == 0, ended.stdout + ended.stderr


async def test_the_folders_are_loaded_and_answer(
    own_home: Path, start_module: Callable[..., Module]
) -> None:
    module = start_module(WAIFU_LLM_HOME=str(own_home), PARROT_API_KEY=KEY)
    async with connect(module.url) as llm:
        await llm.load("finch", api_key=KEY)
        assert (await llm.generate("Hello you", model="grey")).response == "Hello you "
        await llm.load("parrot")
        assert await llm.models("parrot") == ["grey", "green"]
        answer = await llm.generate("Hello you there", model="grey", max_output_length=2)
        assert (answer.response, answer.finish_reason) == ("Hello you ", "length")
        await llm.load("abacus")
        assert (await llm.generate("", model="beads", max_output_length=3)).response == "1 2 3 "
        with pytest.raises(Authorization, match="The key is refused"):
            await llm.load("parrot", api_key="wrong")


@pytest.fixture
def package(desk: Path) -> Path:
    """The package's folder, whole."""
    folder = desk / "waifu-llm-parrot"
    shutil.copytree(desk / "parrot", folder / "waifu_llm_parrot" / "parrot")
    return folder


async def assert_it_answers(module: Module) -> None:
    async with connect(module.url) as llm:
        await llm.load("parrot", api_key=KEY)
        assert (await llm.generate("Hello you", model="green")).response == "Hello you "


async def test_the_package_is_found_by_its_entry_point(
    package: Path, start_module: Callable[..., Module], desk: Path
) -> None:
    declared = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))["project"]
    ((name, module_name),) = declared["entry-points"]["waifu_llm"].items()
    info = package / f"waifu_llm_parrot-{declared['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: waifu-llm-parrot\nVersion: 1.0")
    (info / "entry_points.txt").write_text(f"[waifu_llm]\n{name} = {module_name}\n")
    module = start_module(WAIFU_LLM_HOME=str(desk / "empty"), PYTHONPATH=str(package))
    await assert_it_answers(module)


@pytest.fixture
def installed(package: Path, desk: Path) -> Path:
    """Where pip puts the package."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command = [*pip, "--target", str(desk / "site"), str(package)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and "hatchling" in done.stderr and not os.environ.get("CI"):
        pytest.skip(f"no package index can be reached: {done.stderr}")
    assert done.returncode == 0, done.stderr
    return desk / "site"


@pytest.mark.packaging
async def test_the_package_is_found_where_an_installer_puts_it(
    installed: Path, start_module: Callable[..., Module], desk: Path
) -> None:
    module = start_module(WAIFU_LLM_HOME=str(desk / "empty"), PYTHONPATH=str(installed))
    await assert_it_answers(module)


# What the page names


def test_the_page_lists_every_check() -> None:
    table = PAGE.partition("| check |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ([a-z_, -]+) \|", table, re.MULTILINE)
    assert [name for row in rows for name in row.split(", ")] == list(CHECKS)


def test_the_page_names_only_codes_that_there_are() -> None:
    named = set(re.findall(r"`([A-Z]+_?[A-Z_]+)`", PAGE))
    assert named <= set(BY_CODE)
    assert len(named) > 8


def test_the_page_names_every_method_and_every_field_of_a_request() -> None:
    methods = {name for name in vars(waifu_provider.Provider) if not name.startswith("_")}
    for name in methods - {"run", "dialect"}:
        assert re.search(rf"`(self\.)?{name}\(", PAGE), name
    for name in waifu_provider.Request.__dataclass_fields__:
        assert f"`{name}`" in PAGE, name


@pytest.mark.parametrize("path", [path for _, path, _ in BLOCKS if path != "run"])
def test_what_the_page_shows_is_written_as_our_own_code_is(path: str, desk: Path) -> None:
    if not path.endswith(".py"):
        tomllib.loads((desk / path).read_text("utf-8"))
        return
    compile((desk / path).read_text("utf-8"), path, "exec")
    assert max(map(len, (desk / path).read_text("utf-8").splitlines())) <= 100
