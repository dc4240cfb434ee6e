"""What a text that advises a command says: something that works where it is read."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

NAME = "waifu-llm"


@functools.cache
def program() -> str:
    """How this command is called from here: by its name, else by its path, ready to be pasted."""
    if shutil.which(NAME):
        return NAME
    script = Path(sys.executable).with_name(f"{NAME}.exe" if os.name == "nt" else NAME)
    if script.is_file():
        return quoted(_from_here(script))
    return f"{quoted(sys.executable)} -m waifu_llm"


def advised(text: str) -> str:
    """The text with `waifu-llm …` as it is called from here. Other rooms know only the name."""
    return text.replace(f"`{NAME} ", f"`{program()} ")


def _from_here(file: Path) -> str:
    try:
        relative = os.path.relpath(file)
    except ValueError:  # another drive
        return str(file)
    if os.sep not in relative:
        relative = os.path.join(os.curdir, relative)  # a bare name is looked for on the PATH
    return min(relative, str(file), key=len)


def quoted(path: str) -> str:
    """As the shell of this system takes it."""
    return subprocess.list2cmdline([path]) if os.name == "nt" else shlex.quote(path)
