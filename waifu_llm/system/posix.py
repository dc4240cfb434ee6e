"""Linux and macOS."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

_OPEN_FILES = 4096
_FIRST = 1
_HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Tree:
    """A process of ours with all that it starts.

    It is in a session of its own: no Ctrl-C of ours reaches it, and it can be signalled whole. It
    also inherits the reading end of a pipe whose writing end is ours alone. However we end, the
    kernel closes that, and whoever watches for it in there ends what is left.
    """

    def __init__(self) -> None:
        self._theirs, self._ours = os.pipe()
        self._pid: int | None = None

    def spawn_options(self) -> dict[str, Any]:
        return {"start_new_session": True, "pass_fds": (self._theirs,)}

    def host_options(self) -> list[str]:
        return [f"--lifeline={self._theirs}"]

    def adopt(self, pid: int) -> None:
        """This is the process that was started with these options."""
        self._pid = pid
        os.close(self._theirs)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def inhabited(self) -> bool:
        """Whether anything of it is left."""
        if self._pid is None:
            return False
        try:
            os.killpg(self._pid, 0)
        except (ProcessLookupError, PermissionError):  # macOS: it ended, and is not buried yet
            return False
        return True

    def let_go(self) -> None:
        """It is over, or was never started."""
        if self._pid is None:
            os.close(self._theirs)
        os.close(self._ours)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            if self._pid is not None:
                os.killpg(self._pid, number)


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


def open_to_others(file: Path) -> bool:
    """Whether anybody but its owner may read it."""
    try:
        return bool(file.stat().st_mode & 0o044)
    except OSError:
        return False


def close_to_others(file: Path) -> None:
    """From now on, whoever may have read it before."""
    file.chmod(0o600)


def replace(draft: Path, file: Path) -> None:
    """All at once: who reads gets the one or the other, whole."""
    draft.replace(file)


def leave_first_place() -> None:
    """As the first process of a container we would inherit every process that loses its parent,
    and the loop buries only those that it started. So go on as a child, in a group of its own that
    Ctrl-C reaches once, and let the first process do nothing but bury."""
    if os.getpid() != _FIRST:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDED_ON)  # until somebody can take them
    if child := os.fork():
        _bury_until_it_ends(child)
    os.setpgid(0, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDED_ON)


def _bury_until_it_ends(child: int) -> NoReturn:
    def hand_on(number: int, _: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    for number in _HANDED_ON:
        signal.signal(number, hand_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDED_ON)
    buried = 0
    while buried != child:
        buried, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)  # as shells tell of a signal
