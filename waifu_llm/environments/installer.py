"""Fills an environment: makes it, installs what the lock names, and tries the provider once.

The lock names every package with its hashes: nothing else gets in, from whatever index. What has to
be built is built without isolation, with build tools that are locked as well.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from waifu_llm.backend import Progress
from waifu_llm.environments import bytecode
from waifu_llm.environments.causes import cause_of
from waifu_llm.environments.place import interpreter
from waifu_llm.environments.sources import (
    build_environ,
    installer_environ,
    pip_environ,
    probe_environ,
    uv_environ,
    uv_options,
    with_index,
)
from waifu_llm.environments.told import BEGIN, END, Told, bytes_below
from waifu_llm.environments.watched import Watch, run
from waifu_llm.errors import InstallFailed
from waifu_llm.paths import HOST
from waifu_llm.specs import ProviderSpec

INSTALL_SECONDS = 3600.0
PROBE_SECONDS = 120.0
_UV_SOON_GIVES_UP = {"UV_HTTP_RETRIES": "2", "UV_HTTP_CONNECT_TIMEOUT": "5"}


class Installer:
    """Fills environments for one module."""

    def __init__(self, cache: Path, wheels: Path | None) -> None:
        self._cache = cache
        self._wheels = wheels

    async def fill(self, spec: ProviderSpec, folder: Path, progress: Progress) -> None:
        """
        Raises:
            InstallFailed: With what the installer said, or the provider.
        """
        if self._wheels and not self._wheels.is_dir():
            raise InstallFailed(f"`wheels` should name a folder, and {self._wheels} is none.")
        progress("environment", 0.1, f"Making an environment for {spec.title}.")
        await self._create(spec, folder)
        for lock in (spec.build_lock_file, spec.lock_file):
            if lock.is_file() and lock.read_text("utf-8").strip():
                progress("resolve", BEGIN, f"Looking for what {spec.title} needs.")
                await self._install(spec, folder, lock, progress)
        await self.probe(spec, folder, progress)
        await asyncio.to_thread(bytecode.share, folder, self._cache / "bytecode")

    async def probe(self, spec: ProviderSpec, folder: Path, progress: Progress) -> None:
        """Import the provider: that proves that all it needs is there."""
        progress("probe", END, f"Trying {spec.title}.")
        python = str(interpreter(folder))
        host = [python, "-I", "-X", "utf8", str(HOST), *spec.host_arguments]
        failure, said = await run([*host, "--probe"], probe_environ(os.environ), PROBE_SECONDS)
        if failure:
            raise InstallFailed(
                f"`{spec.name}` was installed, but does not start ({failure}). It said:\n{said}"
            )

    async def _create(self, spec: ProviderSpec, folder: Path) -> None:
        pip = ["--without-pip"] if uv() or not spec.lock_text().strip() else []
        command = [sys.executable, "-I", "-m", "virtualenv", "--python", sys.executable]
        options = ["--no-periodic-update", "--no-download", "--no-vcs-ignore", *pip]
        environ = installer_environ(os.environ)
        environ["VIRTUALENV_OVERRIDE_APP_DATA"] = str(self._cache / "virtualenv")
        await _step(spec, [*command, *options, str(folder)], environ)

    async def _install(
        self, spec: ProviderSpec, folder: Path, lock: Path, progress: Progress
    ) -> None:
        """uv says what it does only to those who ask for it all."""
        half_fetched = partial(self._half_fetched, folder)
        told = Told(spec.title, _count(lock), progress, half_fetched)
        options = [*self._only_wheels_here(), *_built(spec, lock), "-r", str(lock)]
        python = str(interpreter(folder))
        builder, kind = _builder(spec, lock)
        if tool := uv():
            environ = with_index(uv_environ(os.environ), "UV_INDEX", spec.extra_index)
            environ |= {"UV_CACHE_DIR": str(self._cache / f"uv{kind}"), **_UV_SOON_GIVES_UP}
            command = [tool, "pip", "install", "--verbose", "--python", python]
            command += uv_options(os.environ)
        else:
            environ = pip_environ(os.environ)
            environ = with_index(environ, "PIP_EXTRA_INDEX_URL", spec.extra_index)
            environ["PIP_CACHE_DIR"] = str(self._cache / f"pip{kind}")
            environ["TMPDIR"] = str(_temporary(folder))
            quiet = ["--no-input", "--disable-pip-version-check"]
            command = [python, "-I", "-m", "pip", "install", *quiet, "--retries", "2"]
        if self._wheels:  # that folder alone
            environ = {name: environ[name] for name in environ if not name.endswith("_FIND_LINKS")}
        whole = [*command, "--require-hashes", "--no-deps", *options]
        await _step(spec, whole, {**environ, **builder}, told.watch)
        shutil.rmtree(_temporary(folder), ignore_errors=True)

    def _only_wheels_here(self) -> list[str]:
        return ["--no-index", "--find-links", str(self._wheels)] if self._wheels else []

    def _half_fetched(self, folder: Path) -> int:
        return bytes_below([*(self._cache / "uv").glob(".tmp*"), folder / "tmp"])


def _built(spec: ProviderSpec, lock: Path) -> list[str]:
    """Wheels only, but for what is named to be built; that may use what is installed already."""
    wheels_only = ["--only-binary", ":all:"]
    if not spec.build or lock == spec.build_lock_file:
        return wheels_only
    names = [option for name in spec.build for option in ("--no-binary", name)]
    return [*wheels_only, *names, "--no-build-isolation"]


def _builder(spec: ProviderSpec, lock: Path) -> tuple[dict[str, str], str]:
    """Variables for who builds, and what tells the cache of what the operator has built otherwise:
    neither uv nor pip looks at variables before it takes what was built once."""
    if lock == spec.build_lock_file:
        return {}, ""
    builder = build_environ(spec.told_to_builders, os.environ)
    if builder == build_environ(spec.told_to_builders, {}):
        return builder, ""
    return builder, f"-{hashlib.sha256(repr(sorted(builder.items())).encode()).hexdigest()[:8]}"


def _temporary(folder: Path) -> Path:
    """On the same disk, and gone with the rest."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return temporary


def _count(lock: Path) -> int:
    """How many packages a lock names: some may be for other systems."""
    return sum("==" in line.split(" --hash")[0] for line in lock.read_text("utf-8").splitlines())


def uv() -> str | None:
    """uv where it is at hand: beside our own interpreter (the extra `fast`), or on the PATH."""
    beside = Path(sys.executable).with_name("uv.exe" if os.name == "nt" else "uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


async def _step(
    spec: ProviderSpec, command: list[str], environ: Mapping[str, str], watch: Watch | None = None
) -> None:
    failure, said = await run(command, environ, INSTALL_SECONDS, watch)
    if failure:
        why = f"Cannot install `{spec.name}`. {cause_of(said)}".strip()
        raise InstallFailed(f"{why} The installer ended with {failure}, and said:\n{said}")
