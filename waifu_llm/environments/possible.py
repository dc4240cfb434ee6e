"""What keeps an environment from being made, said before anything is downloaded."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from waifu_llm.environments.compiler import see_that_it_can_be_compiled
from waifu_llm.errors import InstallFailed
from waifu_llm.specs import ProviderSpec


def see_that_it_can_be_made(spec: ProviderSpec, folder: Path) -> None:
    """
    Raises:
        InstallFailed: With what is in the way, and what to do about it.
    """
    _see_that_python_fits(spec)
    _see_that_it_is_locked(spec)
    _see_that_the_path_fits(folder)
    see_that_it_can_be_compiled(spec)


def _see_that_python_fits(spec: ProviderSpec) -> None:
    if not spec.python_fits(sys.version_info[:2]):
        raise InstallFailed(
            f"`{spec.name}` needs Python {spec.python}, and the module runs on "
            f"{platform.python_version()}. Start the module with a newer Python."
        )


def _see_that_it_is_locked(spec: ProviderSpec) -> None:
    if spec.lacks_its_lock:
        raise InstallFailed(
            f"`{spec.name}` has a requirements.in and no requirements.lock beside it. Its author "
            "makes that with `uv pip compile --universal --generate-hashes requirements.in -o "
            f"requirements.lock`; `waifu-llm lock {spec.name}` makes one for this machine."
        )


def _see_that_the_path_fits(folder: Path) -> None:
    """Python's own tools put such a path beside others, parted by that very sign."""
    if os.pathsep in str(folder):
        raise InstallFailed(
            f"No environment can be made in {folder}: its path has a `{os.pathsep}`. "
            "WAIFU_LLM_HOME names another home for the module."
        )
