"""The folders of llama.cpp's socket files, and what killed processes left. Standard library only.

    /tmp/waifu-llm-k3v9q2xa/llama.sock    one for each model in memory

A process that is killed cannot remove its own. Whoever starts next removes it, when it can be told
from one that is in use, or is about to be: nobody answers at a socket that is a minute old, or
there is no socket after an hour.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

SOCKET = "llama.sock"
_PREFIX = "waifu-llm-"
_NAME = re.compile(r"waifu-llm-[a-z0-9_]{8}")
_MINUTE, _HOUR = 60, 3600
_ANSWER_SECONDS = 1.0


def new_folder() -> Path:
    """One that nobody else may open."""
    return Path(tempfile.mkdtemp(prefix=_PREFIX))


def remove(folder: Path) -> None:
    """With its socket, and only when there is nothing else in it."""
    with suppress(OSError):
        (folder / SOCKET).unlink()
    with suppress(OSError):
        folder.rmdir()


def remove_left_ones() -> None:
    """Where Python cannot ask at a socket file, as on Windows, they stay."""
    if not hasattr(socket, "AF_UNIX") or not hasattr(os, "getuid"):
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if _is_left(folder):
                remove(folder)


def _is_left(folder: Path) -> bool:
    about = folder.lstat()
    if not _NAME.fullmatch(folder.name) or not stat.S_ISDIR(about.st_mode):
        return False
    if about.st_uid != os.getuid() or any(each.name != SOCKET for each in folder.iterdir()):
        return False
    age = time.time() - about.st_mtime
    if not (folder / SOCKET).exists():
        return age > _HOUR
    return age > _MINUTE and _nobody_answers(folder / SOCKET)


def _nobody_answers(file: Path) -> bool:
    """llama.cpp takes up who connects in a thread of its own, however busy it is."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as ours:
        ours.settimeout(_ANSWER_SECONDS)
        try:
            ours.connect(str(file))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
