"""The wheel, and every way to install it: really built, installed elsewhere, and run there.

The index is asked once, for all that is needed; the installs take it from a folder.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from support import Module

from waifu_llm.client import connect
from waifu_llm.version import __version__

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).resolve().parent.parent
WAYS = ["wheel", "editable", "uv", "pipx"]
IN_CI = bool(os.environ.get("CI"))
ON_WINDOWS = os.name == "nt"


def clean_environ(**more):
    """What a user's shell has: nothing of the environment that the tests run in."""
    ours = ("PYTHON", "VIRTUAL_ENV", "WAIFU_LLM_")
    return {name: text for name, text in os.environ.items() if not name.startswith(ours)} | more


def run(*command, cwd, **environ):
    """The output of a command that must succeed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean_environ(**environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def program(folder, name):
    """An executable of an environment."""
    return folder / "Scripts" / f"{name}.exe" if ON_WINDOWS else folder / "bin" / name


def make_environment(folder):
    run(sys.executable, "-I", "-m", "virtualenv", "--no-download", folder, cwd=folder.parent)
    return folder


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder far from the checkout."""
    return tmp_path_factory.mktemp("packaging")


@pytest.fixture(scope="session")
def tools(place):
    """An environment with the installers, apart from the one that the tests run in."""
    tools = make_environment(place / "tools")
    pip = [program(tools, "python"), "-m", "pip", "--disable-pip-version-check"]
    try:
        once = ["--quiet", "--retries", "1", "download", "--no-cache-dir", "--no-deps"]
        run(*pip, *once, "--dest", place / "reached", "filelock", cwd=place)
    except AssertionError as exc:
        if IN_CI:
            raise
        pytest.skip(f"no package index can be reached: {exc}")
    run(*pip, "install", "uv", "pipx", cwd=place)
    return tools


@pytest.fixture(scope="session")
def distributions(tools, place):
    """The source distribution, and the wheel that is built from it: what a release is."""
    run(sys.executable, "-m", "build", "--outdir", place / "dist", ROOT, cwd=place)
    (sdist,) = (place / "dist").glob("*.tar.gz")
    (wheel,) = (place / "dist").glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="session")
def wheel(distributions):
    return distributions[1]


@pytest.fixture(scope="session")
def offline(tools, wheel, place):
    """Variables by which installers find everything in a folder, and nothing elsewhere."""
    folder = place / "wheels"
    needed = [wheel, "hatchling", "editables", "pip"]
    pip = [program(tools, "python"), "-m", "pip"]
    run(*pip, "wheel", "--quiet", "--wheel-dir", folder, *needed, cwd=place)
    return {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": folder.as_uri(),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": folder.as_uri(),
        "UV_OFFLINE": "1",
        "UV_NO_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_CACHE_DIR": str(place / "uv cache"),
    }


def install_wheel(place, tools, wheel, offline):
    folder = make_environment(place / "from wheel")
    run(program(folder, "python"), "-m", "pip", "install", wheel, cwd=place, **offline)
    return program(folder, "waifu-llm")


def install_editable(place, tools, wheel, offline):
    folder = make_environment(place / "editable")
    run(program(folder, "python"), "-m", "pip", "install", "-e", ROOT, cwd=place, **offline)
    return program(folder, "waifu-llm")


def install_uv(place, tools, wheel, offline):
    folders = {"UV_TOOL_DIR": str(place / "uv"), "UV_TOOL_BIN_DIR": str(place / "uv" / "bin")}
    command = [program(tools, "uv"), "tool", "install", "--python", sys.executable, wheel]
    run(*command, cwd=place, **offline, **folders)
    return Path(shutil.which("waifu-llm", path=place / "uv" / "bin"))


def install_pipx(place, tools, wheel, offline):
    home = place / "pipx"
    folders = {"PIPX_HOME": home, "PIPX_BIN_DIR": home / "bin", "PIPX_MAN_DIR": home / "man"}
    command = [program(tools, "pipx"), "install", "--python", sys.executable, wheel]
    run(*command, cwd=place, **offline, **{name: str(path) for name, path in folders.items()})
    return Path(shutil.which("waifu-llm", path=home / "bin"))


@pytest.fixture(scope="session", params=WAYS)
def command(request, place, tools, wheel, offline):
    """The command `waifu-llm`, installed once in each of the ways."""
    return globals()[f"install_{request.param}"](place, tools, wheel, offline)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def test_the_wheel_holds_what_runs_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "waifu_llm/py.typed",
        "waifu_llm/bundled_providers/echo/provider.toml",
        "waifu_llm/bundled_providers/echo/provider.py",
        "waifu_llm/newcomer/provider.toml",
        "waifu_llm/newcomer/README.md",
    } <= names
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "waifu_llm").rglob("*.py")}
    assert modules <= names
    assert any(name.startswith("waifu_llm/provider_host/") for name in names)
    assert {name.split("/")[0] for name in names} == {
        "waifu_llm",
        f"waifu_llm-{__version__}.dist-info",
    }
    assert not [name for name in names if "__pycache__" in name or "test" in name]


def test_the_source_distribution_can_be_tested(distributions):
    with tarfile.open(distributions[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"scripts/test", "scripts/_setup.py", "tests/test_packaging.py", "LICENSE"} <= names
    assert not [name for name in names if "provider_envs" in name or ".venv" in name]


def test_the_wheel_says_what_it_is(wheel):
    archive = zipfile.ZipFile(wheel)
    metadata = archive.read(f"waifu_llm-{__version__}.dist-info/METADATA").decode()
    assert f"\nVersion: {__version__}\n" in metadata
    assert re.search(r"^Requires-Python: >=3\.11$", metadata, re.MULTILINE)


def test_it_runs_as_a_module(command, tmp_path, home):
    python = command.resolve().with_name("python.exe" if ON_WINDOWS else "python")
    if not python.exists():
        pytest.skip("the command is a copy here, apart from its environment")
    version = run(python, "-m", "waifu_llm", "--version", cwd=tmp_path, WAIFU_LLM_HOME=str(home))
    assert version.split() == ["waifu-llm", __version__]


def test_the_command_tells_its_version(command, tmp_path, home):
    version = run(command, "--version", cwd=tmp_path, WAIFU_LLM_HOME=str(home))
    assert version.split() == ["waifu-llm", __version__]


def test_the_command_lists_the_bundled_providers(command, tmp_path, home):
    providers = run(command, "list", cwd=tmp_path, WAIFU_LLM_HOME=str(home))
    assert "echo" in [line.split()[0] for line in providers.splitlines()]


def start(command, cwd, home, **environ):
    """The module, serving at a port of its own."""
    process = subprocess.Popen(
        [*(str(part) for part in command), "--port", "0"],
        cwd=cwd,
        env=clean_environ(WAIFU_LLM_HOME=str(home), **environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    return Module(process)


async def test_it_serves_answers_and_closes(command, tmp_path, home):
    module = start([command, "serve"], tmp_path, home)
    try:
        async with connect(module.url) as client:
            await client.load("echo")
            answer = await client.generate("hello there", model="echo")
            await client.close_module()
        assert answer.response == "hello there"
        assert module.wait() == 0
    finally:
        module.kill()


@pytest.mark.skipif(ON_WINDOWS, reason="nothing there can press Ctrl-C for another process")
def test_ctrl_c_closes_it(command, tmp_path, home):
    module = start([command, "serve"], tmp_path, home)
    try:
        module.process.send_signal(signal.SIGINT)
        assert module.wait() == 0
    finally:
        module.kill()


async def test_a_fresh_checkout_serves_from_any_path_and_in_any_locale(place, offline, home):
    checkout = place / "かな と space"
    for part in ("waifu_llm", "providers", "scripts"):
        away = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, checkout / part, ignore=away)
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, checkout)
    script = [sys.executable, checkout / "scripts" / "serve"]
    first = run(*script, "--help", cwd=place, **offline)
    assert "--port" in first
    for locale in ("C", "C.UTF-8"):
        module = start(script, place, home, LC_ALL=locale)
        async with connect(module.url) as client:
            await client.close_module()
        assert module.wait() == 0
        module.kill()
        assert not any("Making" in line for line in module.errors)
