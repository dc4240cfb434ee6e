"""Runs a command of an installer, and reads along what it says.

It says that to a file: a pipe would have to be waited for as long as anything that it started
holds the other end.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from waifu_llm import system
from waifu_llm.paths import HOST

LOOK_SECONDS = 0.25
_TAIL = 4_000
_TRACEBACK = "Traceback (most recent call last)"
_DULL = ("DEBUG ", "TRACE ", "Processing ", "Ignoring ", "Using Python", "Looking in ")

Watch = Callable[[list[str]], None]
"""Given the lines that came since the last look, also when none came."""


async def run(
    command: list[str], environ: Mapping[str, str], seconds: float, watch: Watch | None = None
) -> tuple[str, str]:
    """What went wrong, if anything, and the end of what it said."""
    tree = system.Tree()
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        said = Path(folder) / "said"
        try:
            with said.open("wb") as output, said.open("rb") as reader:
                follow = Follower(reader, watch).look
                return await _run(tree, command, environ, output, seconds, follow), _end_of(said)
        finally:
            tree.kill()
            tree.let_go()


async def _run(
    tree: system.Tree,
    command: list[str],
    environ: Mapping[str, str],
    output: IO[bytes],
    seconds: float,
    follow: Callable[[], None],
) -> str:
    process = await asyncio.create_subprocess_exec(
        *leashed(tree, command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environ,
        **tree.spawn_options(),
    )
    tree.adopt(process.pid)
    try:
        async with asyncio.timeout(seconds):
            status = await _wait(process, follow)
    except TimeoutError:
        return f"not done within {seconds:g} s"
    finally:
        tree.kill()
        await process.wait()
    return f"exit status {status}" if status else ""


def leashed(tree: system.Tree, command: list[str]) -> list[str]:
    """A command that knows nothing of us, and ends when we do, however we do: a compiler would go
    on for minutes."""
    if options := tree.host_options():
        shadow = [sys.executable, "-I", "-S", str(HOST / "host_shadow.py")]
        return [*shadow, *options, *command]
    return command


async def _wait(process: asyncio.subprocess.Process, follow: Callable[[], None]) -> int:
    ended = asyncio.ensure_future(process.wait())
    try:
        while not ended.done():
            await asyncio.wait([ended], timeout=LOOK_SECONDS)
            follow()
        return ended.result()
    finally:
        ended.cancel()


class Follower:
    """Reads a file that another process writes to."""

    def __init__(self, reader: IO[bytes], watch: Watch | None) -> None:
        self._reader = reader
        self._watch = watch
        self._rest = b""

    def look(self) -> None:
        if self._watch:
            *lines, self._rest = (self._rest + self._reader.read()).split(b"\n")
            self._watch([line.decode("utf-8", "replace") for line in lines])


def _end_of(said: Path) -> str:
    """Its last words, each once, without what it tells only those who look for its faults."""
    lines = said.read_text("utf-8", "replace").splitlines()
    told = dict.fromkeys(line for line in _without_frames(lines) if not line.startswith(_DULL))
    return "\n".join(told)[-_TAIL:].strip()


def _without_frames(lines: list[str]) -> Iterator[str]:
    """Of a traceback its last line, which says what went wrong."""
    inside = False
    for line in lines:
        inside = line.startswith(_TRACEBACK) or (
            inside and line.startswith((" ", "During", "The "))
        )
        if not inside:
            yield line
