"""A whole module as a process: what it says, and what it leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import LIMIT, Module, Wire, counting
from websockets.exceptions import ConnectionClosed

StartModule = Callable[..., Module]
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and file modes are POSIX")


def refused(home: Path, *flags: str, **environ: str) -> tuple[int, str]:
    """The exit status of a module that does not start, and what it says."""
    command = [sys.executable, "-m", "waifu_llm", "serve", "--port", "0", *flags]
    variables = {**os.environ, "WAIFU_LLM_HOME": str(home), **environ}
    ended = subprocess.run(
        command, env=variables, capture_output=True, encoding="utf-8", timeout=LIMIT
    )
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stderr


def gone(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has asked for its status yet."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return shown.stdout.strip()[:1] in ("", "Z")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def provider_pids(wire: Wire) -> list[int]:
    status = await wire.ask({"type": "status"})
    return [load["pid"] for load in status["loads"]]


async def rest_of(wire: Wire) -> list[dict[str, Any]]:
    """All messages that come until the module closes the socket as one that goes away."""
    messages = []
    try:
        while True:
            messages.append(await wire.receive())
    except ConnectionClosed:
        assert wire.websocket.close_code == 1001
    return messages


def printed(module: Module) -> list[str]:
    """All that a module has printed, now that it is over."""
    module.kill()
    return [*module.errors, *iter(module.output.get, None)]


async def begin(wire: Wire, ids: set[str]) -> None:
    """Start a generation for each id, and wait for the first word of each."""
    await wire.load("echo")
    for id in ids:
        await wire.send(counting(id, delay_ms=60_000))
    silent = set(ids)
    while silent:
        message = await wire.receive()
        if message["type"] == "generate_stream_chunk":
            silent.remove(message["unique_request_id"])


def children(pid: int) -> list[int]:
    shown = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True)
    pairs = [line.split() for line in shown.stdout.splitlines()]
    return [int(child) for child, parent in pairs if int(parent) == pid]
