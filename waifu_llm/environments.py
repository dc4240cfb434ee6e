"""One virtual environment for each provider, made when it is first wanted.

    provider_envs/groq/current.json     which folder is valid, and for what it was made
    provider_envs/groq/1f0c…-9a3e…/     that folder; an environment never moves
    provider_envs/groq/.lock            held while one is made

`current.json` is written last, after the provider was imported once. Whatever ends a making
half-way leaves no valid environment, and the next `ensure` makes it anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import platform
import secrets
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from waifu_llm import system
from waifu_llm.backend import Progress
from waifu_llm.errors import InstallFailed, NotInstalled
from waifu_llm.paths import HOST
from waifu_llm.specs import ProviderSpec

INSTALL_SECONDS = 3600.0
PROBE_SECONDS = 120.0
_TAIL = 4_000
_COMPLETE = "complete"
_LOCK_POLL_SECONDS = 0.1


class Environments:
    """All environments below one folder."""

    def __init__(self, root: Path, cache: Path, *, auto_install: bool = True) -> None:
        self._root = root
        self._cache = cache
        self._auto_install = auto_install

    def find(self, spec: ProviderSpec) -> Path | None:
        """The interpreter of a valid environment, if there is one."""
        try:
            current = json.loads((self._root / spec.name / "current.json").read_text("utf-8"))
            folder = self._root / spec.name / current["folder"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        python = _interpreter(folder)
        return python if current.get("stamp") == _stamp(spec) and python.exists() else None

    async def ensure(self, spec: ProviderSpec, progress: Progress) -> Path:
        """The interpreter to run this provider with, made first where it must be.

        Raises:
            NotInstalled: When it would have to be made and that is turned off.
            InstallFailed: When it cannot be made; says what the installer said.
        """
        if python := self.find(spec):
            return python
        if not self._auto_install:
            raise NotInstalled(
                f"`{spec.name}` is not installed, and `auto_install` is off. "
                "Turn it on, or load another provider."
            )
        try:
            async with self._locked(spec):
                return self.find(spec) or await self._make(spec, progress)
        except OSError as exc:
            raise InstallFailed(f"Cannot install `{spec.name}`: {exc}.") from exc

    @asynccontextmanager
    async def _locked(self, spec: ProviderSpec) -> AsyncIterator[None]:
        import filelock  # only where something is made: it costs a start some milliseconds

        home = self._root / spec.name
        home.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(home / ".lock", thread_local=False)
        while True:
            try:
                lock.acquire(blocking=False)
                break
            except filelock.Timeout:
                await asyncio.sleep(_LOCK_POLL_SECONDS)
        try:
            yield
        finally:
            lock.release()

    async def _make(self, spec: ProviderSpec, progress: Progress) -> Path:
        if not spec.python_fits(sys.version_info[:2]):
            raise InstallFailed(
                f"`{spec.name}` needs Python {spec.python}, and the module runs on "
                f"{platform.python_version()}. Start the module with a newer Python."
            )
        home, stamp = self._root / spec.name, _stamp(spec)
        (home / "current.json").unlink(missing_ok=True)
        _remove_half_made(home)
        folder = home / f"{_folder_name(stamp)}-{secrets.token_hex(4)}"
        try:
            await self._fill(spec, folder, progress)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        (folder / _COMPLETE).touch()
        _write_current(home, folder.name, stamp)
        progress("probe", 1.0, f"{spec.title} is installed.")
        return _interpreter(folder)

    async def _fill(self, spec: ProviderSpec, folder: Path, progress: Progress) -> None:
        python = _interpreter(folder)
        progress("environment", 0.1, f"Making an environment for {spec.title}.")
        await self._create(spec, folder)
        if spec.lock_text().strip():
            progress("install", 0.3, f"Installing what {spec.title} needs.")
            await self._install(spec, python)
        progress("probe", 0.9, f"Trying {spec.title}.")
        await self._probe(spec, python)

    async def _create(self, spec: ProviderSpec, folder: Path) -> None:
        pip = ["--without-pip"] if _uv() or not spec.lock_text().strip() else []
        command = [sys.executable, "-I", "-m", "virtualenv", "--python", sys.executable]
        options = ["--no-periodic-update", "--no-download", "--no-vcs-ignore", *pip]
        environ = _installer_environ(os.environ)
        environ["VIRTUALENV_OVERRIDE_APP_DATA"] = str(self._cache / "virtualenv")
        await _install_step(spec, [*command, *options, str(folder)], environ)

    async def _install(self, spec: ProviderSpec, python: Path) -> None:
        """The lock names every package with its hashes: nothing else gets in, from any index."""
        only_locked = ["--require-hashes", "--no-deps", "--only-binary", ":all:"]
        locked = [*only_locked, "-r", str(spec.lock_file)]
        environ = _installer_environ(os.environ)
        if uv := _uv():
            environ["UV_CACHE_DIR"] = str(self._cache / "uv")
            command = [uv, "pip", "install", "--python", str(python)]
            await _install_step(spec, [*command, *locked], environ)
        else:
            environ["PIP_CACHE_DIR"] = str(self._cache / "pip")
            pip = [str(python), "-I", "-m", "pip", "install", "--no-input"]
            await _install_step(spec, [*pip, "--disable-pip-version-check", *locked], environ)

    async def _probe(self, spec: ProviderSpec, python: Path) -> None:
        host = [str(python), "-I", "-X", "utf8", str(HOST), str(spec.folder), spec.entry]
        status, said = await _run([*host, "--probe"], _probe_environ(os.environ), PROBE_SECONDS)
        if status:
            raise InstallFailed(
                f"`{spec.name}` was installed, but does not start ({status}). It said:\n{said}"
            )


def _interpreter(folder: Path) -> Path:
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


def _stamp(spec: ProviderSpec) -> dict[str, str]:
    """All that an environment depends on. Another value of any of it, and it is made anew."""
    return {
        "lock": spec.lock_hash(),
        "python": f"{platform.python_version()} {os.path.realpath(sys.executable)}",
        "platform": sysconfig.get_platform(),
    }


def _folder_name(stamp: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(stamp, sort_keys=True).encode()).hexdigest()[:12]


def _remove_half_made(home: Path) -> None:
    """What a killed making left. Its installer may still write there: no name is used twice."""
    for folder in home.iterdir():
        if folder.is_dir() and not (folder / _COMPLETE).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _write_current(home: Path, folder: str, stamp: Mapping[str, str]) -> None:
    draft = home / "current.json.new"
    draft.write_text(json.dumps({"folder": folder, "stamp": stamp}, indent=1), "utf-8")
    os.replace(draft, home / "current.json")


def _uv() -> str | None:
    """uv where it is at hand: beside our own interpreter (the extra `fast`), or on the PATH."""
    beside = Path(sys.executable).with_name("uv.exe" if os.name == "nt" else "uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


_KEPT = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CERT",
    "PIP_CLIENT_CERT", "PIP_PROXY", "PIP_TRUSTED_HOST", "PIP_CONFIG_FILE", "PIP_DEFAULT_TIMEOUT",
    "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS",
    "UV_NO_INDEX", "UV_OFFLINE", "UV_NATIVE_TLS", "UV_INSECURE_HOST", "UV_CONFIG_FILE",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE", "HOME", "PATH", "TMPDIR", "TEMP", "TMP", "LANG", "USERPROFILE",
    "APPDATA", "LOCALAPPDATA", "PROGRAMDATA", "SYSTEMROOT", "SYSTEMDRIVE", "COMSPEC", "PATHEXT",
    "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS",
)  # fmt: skip


def _installer_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Where packages come from is the operator's to say; nothing else leaks in, and no key."""
    return {name: value for name, value in environ.items() if name.upper() in _KEPT}


def _probe_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The provider's own code runs: an index with a password in its address is not for it."""
    kept = _installer_environ(environ)
    return {name: kept[name] for name in kept if not name.upper().startswith(("PIP_", "UV_"))}


async def _install_step(spec: ProviderSpec, command: list[str], environ: Mapping[str, str]) -> None:
    status, said = await _run(command, environ, INSTALL_SECONDS)
    if status:
        raise InstallFailed(f"Cannot install `{spec.name}` ({status}). The installer said:\n{said}")


async def _run(command: list[str], environ: Mapping[str, str], seconds: float) -> tuple[str, str]:
    """What went wrong, if anything, and the end of what it said.

    It says that to a file: a pipe would have to be waited for as long as anything that it started
    holds the other end.
    """
    tree = system.Tree()
    with tempfile.TemporaryFile() as output:
        try:
            return await _wait_for(tree, command, environ, output, seconds), _end_of(output)
        finally:
            tree.kill()
            tree.let_go()


async def _wait_for(
    tree: system.Tree,
    command: list[str],
    environ: Mapping[str, str],
    output: IO[bytes],
    seconds: float,
) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environ,
        **tree.spawn_options(),
    )
    tree.adopt(process.pid)
    try:
        async with asyncio.timeout(seconds):
            status = await process.wait()
    except TimeoutError:
        return f"not done within {seconds:g} s"
    finally:
        tree.kill()
        await process.wait()
    return f"exit status {status}" if status else ""


def _end_of(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _TAIL))
    return output.read().decode("utf-8", "replace").strip()
