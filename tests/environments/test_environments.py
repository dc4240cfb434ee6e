"""Environments: real ones, made in a temporary folder from wheels that the tests build."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from package_index import Index
from support import LIMIT

from waifu_llm import environments as environments_module
from waifu_llm.environments import Environments, installer
from waifu_llm.environments.sources import installer_environ
from waifu_llm.errors import Busy, InstallFailed, NotInstalled
from waifu_llm.specs import ProviderSpec

ROOT = Path(__file__).parents[2]
GOOD = "from waifu_provider import Provider\nclass Tried(Provider): pass\n"
USES_TINY = "import tiny\n" + GOOD


class Heard:
    """The progress of a making."""

    def __init__(self) -> None:
        self.events: list[tuple[str, float]] = []

    def __call__(self, phase: str, fraction: float, message: str) -> None:
        self.events.append((phase, fraction))

    @property
    def phases(self) -> list[str]:
        """Each once, as they began."""
        return list(dict.fromkeys(phase for phase, _ in self.events))

    @property
    def makings(self) -> int:
        return sum(phase == "environment" for phase, _ in self.events)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "environments"


@pytest.fixture
def environments(root: Path, cache: Path) -> Environments:
    return Environments(root, cache)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def provider(tmp_path: Path) -> Callable[..., ProviderSpec]:
    """Writes a provider folder, or another version of it."""

    def write(source: str = GOOD, lock: str | None = None, **declared: Any) -> ProviderSpec:
        folder = tmp_path / "tried"
        folder.mkdir(exist_ok=True)
        (folder / "provider.py").write_text(source, "utf-8")
        if lock is not None:
            (folder / "requirements.lock").write_text(lock, "utf-8")
        fields = {"name": "tried", "title": "Tried", "entry": "provider:Tried", **declared}
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in fields.items()]
        (folder / "provider.toml").write_text("".join(lines), "utf-8")
        return ProviderSpec.from_folder(folder)

    return write


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place that an installer finds packages in."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(folder))
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
    return folder


def build_wheel(
    folder: Path, content: str = "MARK = 1\n", requires: str = "", name: str = "tiny"
) -> str:
    """Makes version 1.0 of a package; returns the line of a lock that names it."""
    info = f"{name}-1.0.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        f"{name}.py": content,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{each},{_record_hash(text)},{len(text)}\n" for each, text in files.items())
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for each, text in files.items():
            archive.writestr(zipfile.ZipInfo(each), text)
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def _record_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def build_source(folder: Path, proof: Path, backend: str = "") -> str:
    """Makes `tiny` 1.0 as a source package, built by what it names, else by itself: then it leaves
    a proof that it was."""
    if backend:
        how = f'requires = ["{backend}"]\nbuild-backend = "{backend}"\n'
    else:
        how = 'requires = []\nbuild-backend = "built"\nbackend-path = ["."]\n'
    files = {
        "pyproject.toml": "[build-system]\n" + how,
        "built.py": f"open({str(proof)!r}, 'w')\n",
        "PKG-INFO": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
    }
    package = folder / "tiny-1.0.tar.gz"
    with tarfile.open(package, "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"tiny-1.0/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return f"tiny==1.0 --hash=sha256:{hashlib.sha256(package.read_bytes()).hexdigest()}\n"


BUILDER = """
import os, zipfile

def build_wheel(folder, settings=None, metadata=None):
    name = "tiny-1.0-py3-none-any.whl"
    info = "tiny-1.0.dist-info"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        told = {name: os.environ.get(name) for name in ("HOW", "ELSE")}
        wheel.writestr("tiny.py", f"MARK = 'built'\\nvars().update({told!r})")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n")
        tags = "Root-Is-Purelib: true\\nTag: py3-none-any\\n"
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\n" + tags)
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""


@pytest.fixture(params=["uv", "pip"])
def tool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Installs with uv, and where that is not at hand with pip."""
    if request.param == "pip":
        monkeypatch.setattr(installer, "uv", lambda: None)
    elif not installer.uv():
        pytest.skip("uv is not at hand")
    return request.param


@pytest.fixture
def built(tmp_path: Path, wheels: Path, provider: Any) -> Callable[..., ProviderSpec]:
    """A provider that needs `tiny`, which there is as a source only, and `builder` to build it."""

    def write(build_lock: str | None = None) -> ProviderSpec:
        locked = build_wheel(wheels, BUILDER, name="builder")
        (tmp_path / "tried").mkdir()
        (tmp_path / "tried" / "build.lock").write_text(build_lock or locked, "utf-8")
        lock = build_source(wheels, tmp_path / "proof", backend="builder")
        return provider(USES_TINY, lock, build=["tiny"])

    return write


def in_environment(python: Path, code: str) -> str:
    return subprocess.check_output([python, "-I", "-c", code], text=True).strip()


class Gate:
    """A provider whose import waits at a socket, until it is let through or killed."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self.gone = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []
        self.environment = ""
        self.port = 0

    @property
    def source(self) -> str:
        says_where = "line.sendall(sys.prefix.encode() + b'\\n')"
        connect = f"line = socket.create_connection(('127.0.0.1', {self.port}))"
        return f"import socket, sys\n{connect}\n{says_where}\nline.recv(1)\n" + GOOD

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self.environment = (await reader.readline()).decode().strip()
        self.waiting.set()
        with suppress(ConnectionResetError):
            await reader.read()
        self.gone.set()

    def open(self) -> None:
        for writer in self._writers:
            writer.close()


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    gate = Gate()
    server = await asyncio.start_server(gate.take, "127.0.0.1", 0)
    gate.port = server.sockets[0].getsockname()[1]
    yield gate
    gate.open()
    server.close()
    await server.wait_closed()
    if gate.waiting.is_set():
        await gate.gone.wait()


async def soon(awaitable: Any) -> Any:
    async with asyncio.timeout(LIMIT):
        return await awaitable


# Making


async def test_an_environment_is_made_when_it_is_first_wanted(environments, provider, root, heard):
    spec = provider()
    assert environments.find(spec) is None
    python = await environments.ensure(spec, heard)
    prefix = Path(in_environment(python, "import sys; print(sys.prefix)"))
    assert prefix.resolve().parent == (root / "tried").resolve()
    assert environments.find(spec) == python
    assert [phase for phase, _ in heard.events] == ["environment", "probe", "probe"]
    assert [fraction for _, fraction in heard.events] == [0.1, 0.9, 1.0]


async def test_what_is_made_is_used_again(environments, provider, heard):
    spec = provider()
    python = await environments.ensure(spec, heard)
    assert await environments.ensure(spec, heard) == python
    assert heard.makings == 1


async def test_it_is_valid_for_another_module_too(environments, provider, root, cache, heard):
    python = await environments.ensure(provider(), heard)
    assert await Environments(root, cache).ensure(provider(), heard) == python
    assert heard.makings == 1


async def test_nothing_is_valid_before_the_end(environments, provider):
    spec, seen = provider(), {}

    def look(phase: str, fraction: float, message: str) -> None:
        seen[phase, fraction] = environments.find(spec)

    python = await environments.ensure(spec, look)
    assert seen == {("environment", 0.1): None, ("probe", 0.9): None, ("probe", 1.0): python}


async def test_two_providers_have_two_environments(environments, provider, heard):
    one = await environments.ensure(provider(), heard)
    other = await environments.ensure(provider(name="other"), heard)
    assert (heard.makings, one == other) == (2, False)


async def test_another_lock_makes_it_anew(environments, provider, heard):
    before = await environments.ensure(provider(lock=""), heard)
    changed = provider(lock="\n")
    assert environments.find(changed) is None
    assert await environments.ensure(changed, heard) != before
    assert heard.makings == 2


async def test_another_python_makes_it_anew(environments, provider, heard, monkeypatch):
    spec = provider()
    before = await environments.ensure(spec, heard)
    monkeypatch.setattr(environments_module.platform, "python_version", lambda: "3.99.0")
    assert environments.find(spec) is None
    assert await environments.ensure(spec, heard) != before


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"{}", b"\xff", b'{"folder": 7}', b'{"folder": "x", "stamp": 1}'],
)
async def test_a_broken_note_of_what_is_valid_heals(environments, provider, root, heard, content):
    spec = provider()
    await environments.ensure(spec, heard)
    (root / "tried" / "current.json").write_bytes(content)
    assert environments.find(spec) is None
    python = await environments.ensure(spec, heard)
    assert (heard.makings, environments.find(spec)) == (1, python)


async def test_an_environment_without_its_interpreter_heals(environments, provider, heard):
    spec = provider()
    python = await environments.ensure(spec, heard)
    python.unlink()
    assert environments.find(spec) is None
    assert in_environment(await environments.ensure(spec, heard), "print(1)") == "1"


@pytest.mark.skipif(os.name == "nt", reason="Windows copies the interpreter, it makes no link")
async def test_an_environment_whose_base_is_gone_heals(environments, provider, heard):
    spec = provider()
    python = await environments.ensure(spec, heard)
    python.unlink()
    python.symlink_to("/a/python/that/was/removed")
    assert environments.find(spec) is None
    assert in_environment(await environments.ensure(spec, heard), "print(1)") == "1"


async def test_a_path_may_hold_anything_and_be_long(tool, tmp_path, cache, provider, heard, wheels):
    lock = build_wheel(wheels)
    folder = tmp_path / "ワイフ user (x) 'y'" / ("z" * (180 - len(str(tmp_path))))
    spec = provider(USES_TINY, lock)
    folder.parent.mkdir()
    spec.folder.rename(folder)
    spec = ProviderSpec.from_folder(folder)
    assert len(str(folder)) > 180
    python = await Environments(folder / "environments", cache).ensure(spec, heard)
    assert in_environment(python, "import tiny; print(tiny.MARK)") == "1"


# Half-way


@pytest.mark.parametrize("phase", ["environment", "install", "probe"])
async def test_a_making_that_is_cancelled_leaves_nothing_valid(
    environments, provider, wheels, phase
):
    spec = provider(USES_TINY, build_wheel(wheels))

    def cancel(now: str, fraction: float, message: str) -> None:
        if now == phase:
            making.cancel()

    making = asyncio.create_task(environments.ensure(spec, cancel))
    with pytest.raises(asyncio.CancelledError):
        await making
    assert environments.find(spec) is None
    python = await environments.ensure(spec, Heard())
    assert in_environment(python, "import tiny; print(tiny.MARK)") == "1"


async def test_a_making_that_is_cancelled_ends_its_installer(environments, provider, gate):
    making = asyncio.create_task(environments.ensure(provider(gate.source), Heard()))
    await soon(gate.waiting.wait())
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    await soon(gate.gone.wait())
    assert environments.find(provider()) is None
    await environments.ensure(provider(), Heard())


async def test_healing_is_valid_only_when_it_is_done(environments, provider, gate):
    python = await environments.ensure(provider(), Heard())
    python.unlink()
    spec = provider(gate.source)
    making = asyncio.create_task(environments.ensure(spec, Heard()))
    await soon(gate.waiting.wait())
    valid_meanwhile = environments.find(spec)
    gate.open()
    healed = await making
    assert (valid_meanwhile, environments.find(spec)) == (None, healed)


async def test_healing_that_fails_leaves_nothing_valid(environments, provider):
    python = await environments.ensure(provider(), Heard())
    python.unlink()
    broken = provider("import a_package_that_is_missing")
    with pytest.raises(InstallFailed):
        await environments.ensure(broken, Heard())
    assert environments.find(broken) is None


ENSURE = """
import asyncio, sys
from pathlib import Path
from waifu_llm.environments import Environments
from waifu_llm.specs import ProviderSpec

def tell(phase, fraction, message):
    print(phase, flush=True)

root, cache, folder = map(Path, sys.argv[1:])
asyncio.run(Environments(root, cache).ensure(ProviderSpec.from_folder(folder), tell))
"""


@pytest.fixture
def ensure_elsewhere(root: Path, cache: Path) -> Callable[[ProviderSpec], Any]:
    """`ensure` in a process of its own, which says its phases."""

    def start(spec: ProviderSpec) -> Any:
        command = [sys.executable, "-c", ENSURE, str(root), str(cache), str(spec.folder)]
        return asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, cwd=ROOT)

    return start


async def test_a_module_that_is_killed_half_way_leaves_nothing_valid(
    environments, provider, gate, ensure_elsewhere
):
    other = await ensure_elsewhere(provider(gate.source))
    await soon(gate.waiting.wait())
    other.kill()
    await other.wait()
    await soon(gate.gone.wait())  # its installer too
    assert environments.find(provider()) is None
    python = await soon(environments.ensure(provider(), Heard()))
    assert in_environment(python, "print(1)") == "1"


async def test_an_installer_that_outlives_its_module_does_not_disturb_the_next(
    environments, provider, gate, ensure_elsewhere
):
    other = await ensure_elsewhere(provider(gate.source))
    await soon(gate.waiting.wait())
    other.kill()
    await other.wait()
    python = await soon(environments.ensure(provider(), Heard()))
    prefix = in_environment(python, "import sys; print(sys.prefix)")
    assert gate.gone.is_set() or gate.environment != prefix


async def test_two_at_once_make_one(environments, provider, heard):
    spec = provider()
    heard_too = Heard()
    one, other = await asyncio.gather(
        *(environments.ensure(spec, each) for each in (heard, heard_too))
    )
    assert (one == other, heard.makings) == (True, 1)
    assert heard.events == heard_too.events


async def test_who_leaves_does_not_end_a_making_that_another_waits_for(
    environments, provider, gate
):
    spec = provider(gate.source)
    leaving, staying = (asyncio.create_task(environments.ensure(spec, Heard())) for _ in range(2))
    await soon(gate.waiting.wait())
    leaving.cancel()
    await asyncio.wait([leaving])
    gate.open()
    assert await soon(staying) == environments.find(spec)


async def test_a_making_ends_when_the_last_who_waits_for_it_leaves(
    environments, provider, gate, root
):
    spec = provider(gate.source)
    both = [asyncio.create_task(environments.ensure(spec, Heard())) for _ in range(2)]
    await soon(gate.waiting.wait())
    for each in both:
        each.cancel()
    await asyncio.wait(both)
    assert [each for each in (root / "tried").iterdir() if each.is_dir()] == []
    await soon(gate.gone.wait())


async def test_two_modules_at_once_make_one(provider, ensure_elsewhere, environments):
    spec = provider()
    both = [await ensure_elsewhere(spec) for _ in range(2)]
    said = [(await soon(each.communicate()))[0].decode().split() for each in both]
    assert [each.returncode for each in both] == [0, 0]
    assert sorted("probe" in phases for phases in said) == [False, True]
    assert environments.find(spec) is not None


async def test_who_comes_while_one_is_made_waits_for_it(
    environments, provider, gate, heard, ensure_elsewhere
):
    spec = provider(gate.source)
    making = await ensure_elsewhere(spec)
    await soon(gate.waiting.wait())
    waiting = asyncio.create_task(environments.ensure(spec, heard))
    while not heard.events:
        await asyncio.sleep(0)
    gate.open()
    await making.communicate()
    assert await soon(waiting) == environments.find(spec)
    assert {phase for phase, _ in heard.events} == {"environment"}
    assert {fraction for _, fraction in heard.events} == {0.0}


# Using, replacing and removing


async def test_what_is_in_use_is_neither_removed_nor_pruned(environments, provider, root, cache):
    spec = provider()
    python = await environments.ensure(spec, Heard())
    keeper = Environments(root, cache)
    with pytest.raises(Busy, match="`tried` is in use by a running module"):
        await keeper.remove("tried")
    assert await keeper.prune(wanted=set()) == []
    assert python.exists()


async def test_what_its_user_left_behind_is_removed(
    environments, provider, root, ensure_elsewhere
) -> None:
    await (await ensure_elsewhere(provider())).communicate()
    assert list(root.glob("tried/*/in-use-*"))
    (folder,) = (each.folder for each in environments.installed())
    assert [each.folder for each in await environments.remove("tried")] == [folder]
    assert (folder.exists(), environments.installed()) == (False, [])


async def test_what_was_replaced_stays_while_it_is_used(
    environments, provider, wheels, root, cache
):
    old = await environments.ensure(provider(USES_TINY, build_wheel(wheels)), Heard())
    spec = provider(USES_TINY, build_wheel(wheels, "MARK = 2\n"))
    other = Environments(root, cache)
    assert await other.ensure(spec, Heard()) != old
    assert in_environment(old, "import tiny; print(tiny.MARK)") == "1"
    assert sorted(each.is_current for each in other.installed() if each.in_use) == [False, True]


async def test_what_was_replaced_and_is_used_no_longer_goes(
    environments, provider, wheels, ensure_elsewhere
) -> None:
    await (await ensure_elsewhere(provider(USES_TINY, build_wheel(wheels)))).communicate()
    await environments.ensure(provider(USES_TINY, build_wheel(wheels, "MARK = 2\n")), Heard())
    assert [each.is_current for each in environments.installed()] == [True]


async def test_a_lock_that_comes_back_finds_its_environment(environments, provider, wheels, heard):
    first = build_wheel(wheels)
    old = await environments.ensure(provider(USES_TINY, first), heard)
    await environments.ensure(provider(USES_TINY, build_wheel(wheels, "MARK = 2\n")), heard)
    assert await environments.ensure(provider(USES_TINY, first), heard) == old
    assert heard.makings == 2


async def test_what_was_half_made_is_pruned(environments, root):
    half = root / "tried" / "0123-4567"
    half.mkdir(parents=True)
    (half / "a file").write_bytes(b"x" * 10_000)
    (removed,) = await environments.prune(wanted={"tried"})
    assert not half.exists()
    assert (removed.provider, removed.folder) == ("tried", half)
    assert removed.bytes >= 10_000


async def test_who_removes_or_prunes_is_told_that_another_installs(
    environments, provider, gate, root, cache
):
    spec = provider(gate.source)
    making = asyncio.create_task(environments.install(spec, Heard()))
    await soon(gate.waiting.wait())
    other, told = Environments(root, cache), asyncio.Event()
    pruning = asyncio.create_task(other.prune({"tried"}, told.set))
    removing = asyncio.create_task(other.remove("tried", told.set))
    await soon(told.wait())
    gate.open()
    await soon(asyncio.gather(making, pruning))
    (removed,) = await soon(removing)
    assert removed.bytes > 0


async def test_what_a_provider_left_that_is_gone_is_pruned(
    environments, provider, ensure_elsewhere
) -> None:
    await (await ensure_elsewhere(provider())).communicate()
    assert await environments.prune(wanted={"tried"}) == []
    (removed,) = await environments.prune(wanted=set())
    assert not removed.folder.exists()


async def test_files_that_two_environments_share_are_counted_once(environments, provider, wheels):
    await environments.ensure(provider(USES_TINY, build_wheel(wheels)), Heard())
    (alone,) = environments.installed()
    assert 0 < alone.own_bytes == alone.bytes
    twin = alone.folder.with_name("twin")
    shutil.copytree(alone.folder, twin, copy_function=os.link, symlinks=True)
    one, other = environments.installed()
    assert one.bytes == other.bytes
    assert one.own_bytes < one.bytes


# What does not work


async def test_nothing_is_made_where_that_is_turned_off(provider, root, cache, heard):
    with pytest.raises(NotInstalled, match="`tried` is not installed, and `auto_install` is off"):
        await Environments(root, cache, auto_install=False).ensure(provider(), heard)
    assert (root.exists(), heard.events) == (False, [])


async def test_what_is_made_is_used_where_making_is_turned_off(
    environments, provider, root, cache, heard
):
    python = await environments.ensure(provider(), heard)
    assert await Environments(root, cache, auto_install=False).ensure(provider(), heard) == python


async def test_a_python_that_is_too_old_is_named(environments, provider, heard):
    spec = provider(python=">=3.99")
    with pytest.raises(InstallFailed, match=r"needs Python >=3\.99.*Start the module with a newer"):
        await environments.ensure(spec, heard)
    assert environments.find(spec) is None


async def test_a_provider_that_does_not_import_is_not_installed(environments, provider, heard):
    spec = provider("import a_package_that_is_missing")
    with pytest.raises(InstallFailed, match="No module named 'a_package_that_is_missing'"):
        await environments.ensure(spec, heard)
    assert environments.find(spec) is None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nothing_there", r'provider\.py", line 1:\nModuleNotFoundError: No module named'),
        ("def", r"provider\.py\", line 1\n.*SyntaxError"),
        ("import sys\nsys.exit(3)", r'provider\.py", line 2:\nSystemExit: 3'),
        ("class Other: pass", r"AttributeError: .*Tried"),
        ("class Tried: pass", r"`Tried` is not a Provider: derive it"),
    ],
)
async def test_what_is_no_provider_is_told_without_a_traceback(
    environments, provider, heard, source, said
):
    with pytest.raises(InstallFailed, match=f"(?s){said}") as caught:
        await environments.ensure(provider(source + "\n"), heard)
    assert "Traceback" not in caught.value.message
    assert "importlib" not in caught.value.message


async def test_wishes_that_nobody_locked_are_not_installed(environments, provider, heard):
    spec = provider()
    (spec.folder / "requirements.in").write_text("tiny\n")
    with pytest.raises(InstallFailed, match=r"has a requirements\.in and no requirements\.lock"):
        await environments.ensure(spec, heard)


async def test_a_path_that_python_cannot_tell_from_two_is_named(tmp_path, cache, provider, heard):
    with pytest.raises(InstallFailed, match=f"its path has a `{os.pathsep}`. WAIFU_LLM_HOME"):
        await Environments(tmp_path / f"a{os.pathsep}b", cache).ensure(provider(), heard)


async def test_wheels_that_are_no_folder_are_named(root, cache, provider, heard, tmp_path):
    environments = Environments(root, cache, wheels=tmp_path / "none")
    with pytest.raises(InstallFailed, match=r"`wheels` should name a folder, and .*none is none"):
        await environments.ensure(provider(), heard)


async def test_a_place_that_cannot_be_written_is_named(provider, tmp_path, cache, heard):
    (tmp_path / "a file").write_text("")
    with pytest.raises(InstallFailed, match=r"Cannot install `tried`: .*a file"):
        await Environments(tmp_path / "a file", cache).ensure(provider(), heard)


# What is installed


async def test_what_the_lock_names_is_installed(tool, environments, provider, wheels, heard):
    spec = provider(USES_TINY, build_wheel(wheels))
    python = await environments.ensure(spec, heard)
    assert in_environment(python, "import tiny; print(tiny.MARK)") == "1"
    assert heard.phases == ["environment", "resolve", "install", "probe"]


async def test_what_another_lock_names_replaces_it(environments, provider, wheels, heard):
    await environments.ensure(provider(USES_TINY, build_wheel(wheels)), heard)
    spec = provider(USES_TINY, build_wheel(wheels, "MARK = 2\n"))
    python = await environments.ensure(spec, heard)
    assert in_environment(python, "import tiny; print(tiny.MARK)") == "2"


async def test_nothing_but_what_the_lock_names_is_installed(
    tool, environments, provider, wheels, heard
):
    lock = build_wheel(wheels, requires="another")
    python = await environments.ensure(provider(USES_TINY, lock), heard)
    assert in_environment(python, "import tiny; print(tiny.MARK)") == "1"


async def test_a_tampered_wheel_is_refused(tool, environments, provider, wheels, heard):
    spec = provider(USES_TINY, build_wheel(wheels))
    build_wheel(wheels, "MARK = 'not what was locked'\n")
    with pytest.raises(InstallFailed, match=r"its hash differs.* Nothing was installed\."):
        await environments.ensure(spec, heard)
    assert environments.find(spec) is None


async def test_an_index_that_adds_a_package_is_refused(
    tool, environments, provider, tmp_path, heard, monkeypatch
):
    """It was taken over: what was locked now also wants something else."""
    index = Index(tmp_path / "index")
    lock = f"tiny==1.0 --hash=sha256:{index.wheel('tiny')}\n"
    shutil.rmtree(index.root / "tiny")
    index.wheel("tiny", requires=["thief"])
    index.wheel("thief", content=f"open({str(tmp_path / 'stolen')!r}, 'w')\n")
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.setenv(name, index.url)
    with pytest.raises(InstallFailed, match=r"its hash differs.* Nothing was installed\."):
        await environments.ensure(provider(USES_TINY, lock), heard)
    assert environments.installed() == []
    assert not (tmp_path / "stolen").exists()


async def test_a_lock_without_hashes_is_refused(tool, environments, provider, wheels, heard):
    build_wheel(wheels)
    spec = provider(USES_TINY, "tiny==1.0\n")
    with pytest.raises(InstallFailed, match=r"names something without a hash"):
        await environments.ensure(spec, heard)
    assert environments.find(spec) is None


async def test_nothing_is_built_from_source(tool, environments, provider, wheels, heard, tmp_path):
    spec = provider(USES_TINY, build_source(wheels, tmp_path / "it was run"))
    with pytest.raises(InstallFailed):
        await environments.ensure(spec, heard)
    assert not (tmp_path / "it was run").exists()
    assert environments.find(spec) is None


async def test_what_has_to_be_built_is_built_with_what_is_locked(tool, environments, built, heard):
    python = await environments.ensure(built(), heard)
    assert in_environment(python, "import tiny; print(tiny.MARK)") == "built"
    assert in_environment(python, "import builder; print(builder.__name__)") == "builder"


async def test_who_builds_is_told_how_and_the_operator_s_word_comes_last(
    tool, environments, built, heard, monkeypatch
):
    """What was built otherwise is not taken from a cache."""
    spec = msgspec.structs.replace(built(), build_env={"HOW": "slim"})
    monkeypatch.setenv("ELSE", "is not for who builds")
    marks = []
    for how in ("", "fast", ""):
        monkeypatch.setenv("HOW", how)
        await environments.install(spec, heard)
        marks.append(
            in_environment(environments.find(spec), "import tiny; print(tiny.HOW, tiny.ELSE)")
        )
        await environments.remove(spec.name)
    assert marks == ["slim None", "slim fast None", "slim None"]


async def test_what_was_built_otherwise_stays_and_another_way_of_ours_is_built(
    environments, built, heard, monkeypatch
):
    spec = msgspec.structs.replace(built(), build_env={"HOW": "slim"})
    await environments.install(spec, heard)
    monkeypatch.setenv("HOW", "fast")
    assert environments.find(spec)
    assert not environments.find(msgspec.structs.replace(spec, build_env={"HOW": "slimmer"}))


async def test_nothing_is_built_with_what_is_not_locked(tool, environments, built, heard):
    """The index has the tool, and nobody fetches it from there."""
    with pytest.raises(InstallFailed, match="builder"):
        await environments.ensure(built(build_lock="# nothing\n"), heard)


async def test_a_folder_of_wheels_is_enough(
    tool, provider, root, cache, tmp_path, heard, monkeypatch
):
    """Whatever the operator's settings say of places that cannot be reached."""
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_FIND_LINKS", "UV_FIND_LINKS"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")
    folder = tmp_path / "my wheels"
    folder.mkdir()
    environments = Environments(root, cache, wheels=folder)
    python = await environments.ensure(provider(USES_TINY, build_wheel(folder)), heard)
    assert in_environment(python, "import tiny; print(tiny.MARK)") == "1"


async def test_a_failure_shows_what_the_installer_said(environments, provider, wheels, heard):
    spec = provider(lock=f"no-such-package==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(InstallFailed, match=r"(?s)exit status \d.* said:.*no-such-package"):
        await environments.ensure(spec, heard)


async def test_without_a_network_that_is_said(tool, environments, provider, heard, monkeypatch):
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")  # nobody listens there
    spec = provider(lock=f"tiny==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(
        InstallFailed, match=r"index of packages cannot be reached\. Is there a net"
    ):
        await environments.ensure(spec, heard)


async def test_a_full_disk_is_told_and_what_was_there_still_works(
    tool, provider, wheels, small_disk, heard
):
    environments = Environments(small_disk / "environments", small_disk / "cache")
    small = provider(USES_TINY, build_wheel(wheels))
    python = await environments.ensure(small, heard)
    large = provider(USES_TINY, build_wheel(wheels, f"MARK = {os.urandom(30 << 20).hex()!r}\n"))
    with pytest.raises(InstallFailed, match=r"The disk is full\. Free some space"):
        await environments.ensure(large, heard)
    assert in_environment(python, "import tiny; print(tiny.MARK)") == "1"
    assert [each.folder for each in environments.installed()] == [python.parents[1]]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """40 MiB, of which an environment with pip takes half."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(disk)], check=False
        ).returncode
    ):
        pytest.skip("a small disk can be mounted only by root on Linux")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)  # its environment is still held


async def test_bytecode_is_shared_where_packages_are(environments, provider, wheels, cache):
    """And says where it lies itself."""
    lock = build_wheel(wheels, "import sys\nWHERE = sys._getframe().f_code.co_filename\n")
    pythons = []
    for number in range(2):
        spec = provider(f"import tiny  # {number}\n" + GOOD, lock, name=f"tried{number}")
        pythons.append(await environments.ensure(spec, Heard()))
    (one,), (other,) = (each.parents[1].rglob("tiny.*.pyc") for each in pythons)
    assert one.samefile(other)
    for python, compiled in zip(pythons, (one, other), strict=True):
        said = in_environment(python, "import tiny; print(tiny.WHERE)")
        assert Path(said) == compiled.parents[1] / "tiny.py"
    kept = next(each for each in (cache / "bytecode").iterdir() if each.samefile(one))
    await environments.prune({"tried0", "tried1"})
    assert kept.exists()
    for number in range(2):
        shutil.rmtree(pythons[number].parents[2])
    await environments.prune(set())
    assert not kept.exists()


# What an installer sees


THE_OPERATOR_S = [
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CERT",
    "PIP_PROXY", "PIP_TRUSTED_HOST", "PIP_CONFIG_FILE", "UV_INDEX_URL", "UV_DEFAULT_INDEX",
    "UV_FIND_LINKS", "UV_NO_INDEX", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE", "PATH", "HOME",
]  # fmt: skip
NOBODY_S = [
    "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_REQUIRE_HASHES", "PIP_NO_BINARY", "PIP_PRE",
    "PIP_PYTHON", "UV_NO_VERIFY_HASHES", "UV_TARGET", "UV_PYTHON", "UV_SYSTEM_PYTHON",
    "UV_PROJECT_ENVIRONMENT", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUALENV_CLEAR",
    "VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "LD_PRELOAD", "OPENAI_API_KEY", "WAIFU_LLM_TOKEN",
    "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN",
]  # fmt: skip


@pytest.mark.parametrize("name", THE_OPERATOR_S)
def test_where_packages_come_from_is_the_operator_s_to_say(name):
    assert installer_environ({name: "value"}) == {name: "value"}


@pytest.mark.parametrize("name", NOBODY_S)
def test_nothing_else_reaches_an_installer(name):
    assert installer_environ({name: "value"}) == {}


async def test_settings_of_the_operator_s_shell_change_nothing(
    environments, provider, wheels, heard, monkeypatch, tmp_path
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "json.py").write_text("raise ImportError('the wrong json')")
    for name in ("PYTHONPATH", "PIP_TARGET", "UV_TARGET", "VIRTUALENV_PYTHON", "PYTHONHOME"):
        monkeypatch.setenv(name, str(elsewhere))
    python = await environments.ensure(provider(USES_TINY, build_wheel(wheels)), heard)
    for name in ("PYTHONPATH", "PYTHONHOME"):
        monkeypatch.delenv(name)
    assert in_environment(python, "import tiny; print(tiny.MARK)") == "1"
    assert [each.name for each in elsewhere.iterdir()] == ["json.py"]


async def test_a_provider_that_is_probed_sees_nothing_of_the_operator_s_index(
    environments, provider, heard, monkeypatch, tmp_path
):
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:password@index.example")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    seen = tmp_path / "seen"
    note = f"import json, os\njson.dump(dict(os.environ), open({str(seen)!r}, 'w'))\n"
    await environments.ensure(provider(note + GOOD), heard)
    assert {"PIP_INDEX_URL", "OPENAI_API_KEY"} & set(json.loads(seen.read_text())) == set()
