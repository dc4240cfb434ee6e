"""Environments: real ones, made in a temporary folder from wheels that the tests build."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from environment_stage import (
    BUILDER,
    ENSURE,
    GOOD,
    ROOT,
    USES_TINY,
    Gate,
    Heard,
    build_source,
    build_wheel,
)

from waifu_llm.environments import Environments, installer
from waifu_llm.specs import ProviderSpec


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


@pytest.fixture
def ensure_elsewhere(root: Path, cache: Path) -> Callable[[ProviderSpec], Any]:
    """`ensure` in a process of its own, which says its phases."""

    def start(spec: ProviderSpec) -> Any:
        command = [sys.executable, "-c", ENSURE, str(root), str(cache), str(spec.folder)]
        return asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, cwd=ROOT)

    return start


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
