"""What is compiled needs a compiler: better said before the minutes that it takes than after."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from waifu_llm.errors import InstallFailed
from waifu_llm.specs import ProviderSpec

_HOW = {
    "linux": "Install one: `apt install g++`, `dnf install gcc-c++` or `pacman -S gcc`.",
    "darwin": "Install one: `xcode-select --install`.",
    "win32": "Install the Build Tools of Visual Studio, with `Desktop development with C++`.",
}


def compile_warning(spec: ProviderSpec) -> str:
    return f"{spec.title} is compiled on this machine, which takes minutes.{_other_way(spec)}"


def see_that_it_can_be_compiled(spec: ProviderSpec) -> None:
    """
    Raises:
        InstallFailed: When there is no compiler, and it needs one.
    """
    if spec.compiles and spec.build and not _compiler_is_here():
        how = _HOW.get(sys.platform, "Install one.")
        raise InstallFailed(
            f"`{spec.name}` is compiled on this machine, and there is no C++ compiler. "
            f"{how}{_other_way(spec)}"
        )


def _other_way(spec: ProviderSpec) -> str:
    return f" `{spec.prebuilt}` does the same, and compiles nothing." if spec.prebuilt else ""


def _compiler_is_here() -> bool:
    if sys.platform == "win32":
        return _visual_studio_is_here() or _found("cl", "clang-cl", "g++")
    if sys.platform == "darwin":  # where a `c++` lies that only says how to get one
        return subprocess.run(["xcode-select", "-p"], capture_output=True).returncode == 0
    return _found(*filter(None, [os.environ.get("CXX")]), "c++", "g++", "clang++")


def _found(*names: str) -> bool:
    return any(shutil.which(name) for name in names)


def _visual_studio_is_here() -> bool:
    programs = os.environ.get("PROGRAMFILES(X86)", r"C:\Program Files (x86)")
    return Path(programs, "Microsoft Visual Studio", "Installer", "vswhere.exe").is_file()
