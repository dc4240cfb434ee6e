"""Installations are killed, over and over, at any moment: the next one needs no help."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sys
import time
from pathlib import Path

from soak.history import Violation

PROVIDER = "openai"


async def kill_installations(home: Path, times: int, draw: random.Random) -> None:
    """
    Raises:
        Violation: When one does not succeed after another was killed, or something is left over.
    """
    longest = await _installation(home)
    for _ in range(times):
        await _run(home, "uninstall", PROVIDER)
        moment = draw.uniform(0.0, longest)
        await _kill_one(home, moment)
        await _installation(home)
        _check_what_is_left(home, moment)
    print(f"killed {times} installations within {longest:.1f} s of their beginning; all healed")


async def _installation(home: Path) -> float:
    """How long it took. Without what is cached, so that there is something to be killed."""
    shutil.rmtree(home / "cache", ignore_errors=True)
    begun = time.monotonic()
    await _run(home, "install", PROVIDER)
    return time.monotonic() - begun


async def _kill_one(home: Path, moment: float) -> None:
    shutil.rmtree(home / "cache", ignore_errors=True)
    process = await _start(home, "install", PROVIDER)
    try:
        await asyncio.wait_for(process.wait(), moment)
    except TimeoutError:
        process.kill()
    await process.wait()


async def _run(home: Path, *arguments: str) -> None:
    process = await _start(home, *arguments)
    said = (await process.communicate())[0].decode()
    if process.returncode:
        raise Violation(f"{' '.join(arguments)} ended with {process.returncode}: {said}")


async def _start(home: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "waifu_llm", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "WAIFU_LLM_HOME": str(home)},
    )


def _check_what_is_left(home: Path, moment: float) -> None:
    kept = {".lock", "current.json"}
    found = [
        each for each in (home / "provider_envs" / PROVIDER).iterdir() if each.name not in kept
    ]
    half = list((home / "cache" / "uv").glob(".tmp*"))
    if len(found) != 1 or half:
        raise Violation(f"killed after {moment:.3f} s, it left {found} and {half}")
