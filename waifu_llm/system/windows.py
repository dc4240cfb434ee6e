"""Windows. A venv's python.exe is a launcher there: the tree counts, not the process."""

from __future__ import annotations

import ctypes
import subprocess
from typing import Any

_NEW_GROUP_NO_WINDOW = 0x00000200 | 0x08000000
_QUERY_LIMITED = 0x1000
_STILL_ACTIVE = 259


def spawn_options() -> dict[str, Any]:
    """A group of its own, so that no Ctrl-C of ours reaches it, and no console window."""
    return {"creationflags": _NEW_GROUP_NO_WINDOW}


def terminate_tree(pid: int) -> None:
    """There is no polite way for a process without a window; closing its stdin was it."""


def kill_tree(pid: int) -> None:
    subprocess.Popen(
        ["taskkill", "/F", "/T", "/PID", str(pid)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        creationflags=_NEW_GROUP_NO_WINDOW,
    )


def process_alive(pid: int) -> bool:
    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    handle = kernel.OpenProcess(_QUERY_LIMITED, False, pid)
    if not handle:
        return False
    code = ctypes.c_ulong()
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return code.value == _STILL_ACTIVE


class _Memory(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_ulong),
        ("page_faults", ctypes.c_ulong),
        *((name, ctypes.c_size_t) for name in ("peak", "resident", *"abcdef")),
    ]


def resident_bytes(pid: int) -> int | None:
    """Memory that a process holds now, where it can be told."""
    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    handle = kernel.OpenProcess(_QUERY_LIMITED, False, pid)
    if not handle:
        return None
    memory = _Memory(size=ctypes.sizeof(_Memory))
    told = kernel.K32GetProcessMemoryInfo(handle, ctypes.byref(memory), memory.size)
    kernel.CloseHandle(handle)
    return int(memory.resident) if told else None


def tighten() -> None:
    """The user's own data folder is closed to other users already."""
