"""Windows. A venv's python.exe is a launcher there: the tree counts, not the process."""

from __future__ import annotations

import ctypes
import getpass
import logging
import subprocess
import time
from pathlib import Path
from typing import Any

_NEW_GROUP_NO_WINDOW = 0x00000200 | 0x08000000
_QUERY_LIMITED = 0x1000
_SET_QUOTA_AND_TERMINATE = 0x0100 | 0x0001
_STILL_ACTIVE = 259
_ACCOUNTING, _EXTENDED_LIMITS = 1, 9
_KILL_ON_JOB_CLOSE = 0x2000
_REPLACE_TRIES, _REPLACE_PAUSE_SECONDS = 50, 0.02

log = logging.getLogger("waifu_llm.windows")


class JobLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION; we set the flags alone."""

    _fields_ = [
        ("times", ctypes.c_int64 * 2),
        ("flags", ctypes.c_uint32),
        ("working_sets", ctypes.c_size_t * 2),
        ("active_processes", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("classes", ctypes.c_uint32 * 2),
        ("io_counters", ctypes.c_uint64 * 6),
        ("memory", ctypes.c_size_t * 4),
    ]


class JobAccounts(ctypes.Structure):
    """JOBOBJECT_BASIC_ACCOUNTING_INFORMATION"""

    _fields_ = [
        ("times", ctypes.c_int64 * 4),
        *((name, ctypes.c_uint32) for name in ("faults", "total", "active", "terminated")),
    ]


class Tree:
    """A process of ours with all that it starts: a job object.

    The kernel ends everything in it when the last handle to it closes, so also when we are killed.
    What the launcher started before it was adopted is in a job of the launcher's own, and ends
    with it.
    """

    def __init__(self) -> None:
        kernel = _kernel()
        self._job = kernel.CreateJobObjectW(None, None)
        limits = JobLimits(flags=_KILL_ON_JOB_CLOSE)
        kernel.SetInformationJobObject(
            self._job, _EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits)
        )

    def spawn_options(self) -> dict[str, Any]:
        """A group of its own, so that no Ctrl-C of ours reaches it, and no console window."""
        return {"creationflags": _NEW_GROUP_NO_WINDOW}

    def host_options(self) -> list[str]:
        return []

    def adopt(self, pid: int) -> None:
        """This is the process that was started with these options."""
        kernel = _kernel()
        process = kernel.OpenProcess(_SET_QUOTA_AND_TERMINATE, False, pid)
        if not kernel.AssignProcessToJobObject(self._job, process):
            log.warning("process %d is in no job: what it starts may outlive the module", pid)
        kernel.CloseHandle(process)

    def terminate(self) -> None:
        """There is no polite way for a process without a window; closing its stdin was it."""

    def kill(self) -> None:
        _kernel().TerminateJobObject(self._job, 1)

    def inhabited(self) -> bool:
        """Whether anything of it is left."""
        accounts = JobAccounts()
        told = _kernel().QueryInformationJobObject(
            self._job, _ACCOUNTING, ctypes.byref(accounts), ctypes.sizeof(accounts), None
        )
        return bool(told and accounts.active)

    def let_go(self) -> None:
        """It is over, or was never started."""
        _kernel().CloseHandle(self._job)


def process_alive(pid: int) -> bool:
    kernel = _kernel()
    handle = kernel.OpenProcess(_QUERY_LIMITED, False, pid)
    if not handle:
        return False
    code = ctypes.c_uint32()
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return code.value == _STILL_ACTIVE


class Memory(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS"""

    _fields_ = [
        ("size", ctypes.c_uint32),
        ("page_faults", ctypes.c_uint32),
        *((name, ctypes.c_size_t) for name in ("peak", "resident", *"abcdef")),
    ]


def resident_bytes(pid: int) -> int | None:
    """Memory that a process holds now, where it can be told."""
    kernel = _kernel()
    handle = kernel.OpenProcess(_QUERY_LIMITED, False, pid)
    if not handle:
        return None
    memory = Memory(size=ctypes.sizeof(Memory))
    told = kernel.K32GetProcessMemoryInfo(handle, ctypes.byref(memory), memory.size)
    kernel.CloseHandle(handle)
    return int(memory.resident) if told else None


def tighten() -> None:
    """The user's own data folder is closed to other users already."""


def open_to_others(file: Path) -> bool:
    """Not known: what a folder hands down is right for a user's own, and is not looked through."""
    return False


def close_to_others(file: Path) -> None:
    """As well as it goes: what the folder hands down is taken away, and its user let in again."""
    command = ["icacls", str(file), "/inheritance:r", "/grant:r", f"{getpass.getuser()}:F"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError) as exc:
        log.warning("%s may be read by others: %s", file, exc)


def replace(draft: Path, file: Path) -> None:
    """All at once. Who reads a file keeps it from being replaced there, for a moment."""
    for _ in range(_REPLACE_TRIES):
        try:
            draft.replace(file)
        except PermissionError:
            time.sleep(_REPLACE_PAUSE_SECONDS)
        else:
            return
    draft.replace(file)


def leave_first_place() -> None:
    """No process inherits another here."""


def _kernel() -> Any:
    """kernel32, told which of its numbers are handles: these are wider than an int."""
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
    handle = ctypes.c_void_p
    kernel.CreateJobObjectW.restype = kernel.OpenProcess.restype = handle
    kernel.CreateJobObjectW.argtypes = [handle, ctypes.c_wchar_p]
    kernel.QueryInformationJobObject.argtypes = [
        handle, ctypes.c_int, handle, ctypes.c_uint32, handle,
    ]  # fmt: skip
    kernel.OpenProcess.argtypes = [ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32]
    kernel.AssignProcessToJobObject.argtypes = [handle, handle]
    kernel.TerminateJobObject.argtypes = [handle, ctypes.c_uint32]
    kernel.SetInformationJobObject.argtypes = [handle, ctypes.c_int, handle, ctypes.c_uint32]
    kernel.GetExitCodeProcess.argtypes = [handle, handle]
    kernel.K32GetProcessMemoryInfo.argtypes = [handle, handle, ctypes.c_uint32]
    kernel.CloseHandle.argtypes = [handle]
    return kernel
