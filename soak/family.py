"""A core that is started for a test of its own, and the processes that descend from it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from textwrap import dedent

Core = asyncio.subprocess.Process


def put_provider(
    home: Path,
    name: str,
    code: str,
    settings: tuple[str, ...] = (),
    capabilities: tuple[str, ...] = (),
) -> None:
    """Write a provider into a home; its class is `Provided`."""
    folder = home / "providers" / name
    folder.mkdir(parents=True)
    declared = f'name = "{name}"\ntitle = "{name}"\nentry = "provider:Provided"\n'
    declared += f"capabilities = {json.dumps(capabilities)}\n"
    declared += "".join(f"settings.{each}.help = 'any'\n" for each in settings)
    (folder / "provider.toml").write_text(declared, "utf-8")
    (folder / "provider.py").write_text(dedent(code), "utf-8")


async def start_core(
    home: Path, *flags: str, program: str = "waifu_llm", **environ: str
) -> tuple[Core, str]:
    """Returns the process, and where it listens."""
    core = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", program, "serve", "--port", "0", *flags),
        stdout=asyncio.subprocess.PIPE,
        stderr=(home.parent / f"{home.name}.log").open("ab"),
        env={**os.environ, "WAIFU_LLM_HOME": str(home), **environ},
    )
    assert core.stdout
    try:
        line = (await core.stdout.readline()).decode()
    except asyncio.CancelledError:  # nobody else knows of it yet
        core.kill()
        raise
    return core, line.removeprefix("listening on ").strip()


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [each for child in children for each in (int(child), *descendants(int(child)))]


async def left_of(pid: int, seconds: float) -> list[int]:
    """Its descendants, zombies too, that stay: the last may just be ending."""
    until = time.monotonic() + seconds
    while (left := descendants(pid)) and time.monotonic() < until:
        await asyncio.sleep(0.05)
    return left


def lives(pid: int) -> bool:
    return _state(pid) not in ("", "Z")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
