"""Linux and macOS."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from contextlib import suppress
from typing import Any

_OPEN_FILES = 4096


def spawn_options() -> dict[str, Any]:
    """A session of its own: no Ctrl-C of ours reaches it, and its whole tree can be signalled."""
    return {"start_new_session": True}


def terminate_tree(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGTERM)


def kill_tree(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def process_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return _can_be_signalled(pid)


def _can_be_signalled(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def resident_bytes(pid: int) -> int | None:
    """Memory that a process holds now, where it can be told."""
    try:
        if os.path.exists("/proc/self/statm"):
            with open(f"/proc/{pid}/statm", "rb") as file:
                return int(file.read().split()[1]) * resource.getpagesize()
        shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, timeout=1)
        return int(shown.stdout) * 1024
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def tighten() -> None:
    """Files for the owner alone; as many open ones as our connections may need."""
    os.umask(0o077)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _OPEN_FILES:
        wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
