"""Where a server's programs are, and how they come there."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from filelock import FileLock

_NO_AUTOSTART = Path("/usr/sbin/policy-rc.d")
_INSTALLING = Path(tempfile.gettempdir()) / "waifu-llm-installing.lock"
"""Debian's packages are installed by one at a time."""


class Missing(Exception):
    """A server that is not here, and cannot be installed."""


def program(name: str, package: str, *folders: str) -> str:
    """The path of a program, in these folders (patterns) or wherever programs are.

    Raises:
        Missing: With what to do about it.
    """
    if os.name == "nt":
        raise Missing(f"`{name}` is not started on Windows.")
    found = _find(name, folders)
    if not found and _install(package):
        found = _find(name, folders)
    if not found:
        raise Missing(f"`{name}` is not installed. On Debian and Ubuntu: apt install {package}")
    return found


def _find(name: str, folders: tuple[str, ...]) -> str | None:
    places = [place for folder in folders for place in sorted(glob.glob(folder), reverse=True)]
    return shutil.which(name, path=os.pathsep.join([*places, os.environ.get("PATH", "")]))


@cache
def _install(package: str) -> bool:
    if not shutil.which("apt-get") or os.geteuid():
        return False
    variables = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", package]
    with FileLock(_INSTALLING), _nothing_starts():
        for step in (["apt-get", "update", "--quiet"], command):
            done = subprocess.run(step, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(
            f"{package} could not be installed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return True


@contextlib.contextmanager
def _nothing_starts() -> Iterator[None]:
    """Keeps what is installed from being started for the whole machine."""
    if _NO_AUTOSTART.exists():
        yield
        return
    _NO_AUTOSTART.write_text("#!/bin/sh\nexit 101\n", "ascii")
    _NO_AUTOSTART.chmod(0o755)
    try:
        yield
    finally:
        _NO_AUTOSTART.unlink()
