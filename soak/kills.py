"""The core is killed, over and over, whatever its providers do: nothing of ours may remain."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from textwrap import dedent

from soak.history import Violation
from waifu_llm.client import connect

GONE_SECONDS = 3.0
STATES = ["idle", "streaming", "stuck in a thread", "stuck in the interpreter"]
PROVIDER = """
    import re, subprocess, sys, time
    from waifu_provider import Provider

    class Stuck(Provider):
        def load(self, settings):
            sleep = "import time; time.sleep(3600)"
            subprocess.Popen([sys.executable, "-c", sleep])  # a grandchild
        def models(self):
            return ["idle", "streaming", "stuck in a thread", "stuck in the interpreter"]
        def generate(self, request):
            yield "begun"
            if request.model_id == "stuck in the interpreter":
                time.sleep(0.2)  # let the word out
                re.match(r"(a+)+$", "a" * 64 + "b")
            while True:
                time.sleep(0.01 if request.model_id == "streaming" else 3600)
                yield "word "
"""


async def kill_over_and_over(home: Path, times: int) -> None:
    """
    Raises:
        Violation: When a process outlives its core.
    """
    _write_provider(home / "providers" / "stuck")
    worst = 0.0
    for number in range(times):
        worst = max(worst, await _kill_once(home, STATES[number % len(STATES)]))
    print(f"killed {times} times; all were gone after {worst:.2f} s at most")


def _write_provider(folder: Path) -> None:
    folder.mkdir(parents=True)
    declared = 'name = "stuck"\ntitle = "Stuck"\nentry = "provider:Stuck"\n'
    (folder / "provider.toml").write_text(declared, "utf-8")
    (folder / "provider.py").write_text(dedent(PROVIDER), "utf-8")


async def _kill_once(home: Path, state: str) -> float:
    """Returns how long the last of its processes lived on."""
    core = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "waifu_llm", "serve", "--port", "0"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "WAIFU_LLM_HOME": str(home)},
    )
    assert core.stdout
    url = (await core.stdout.readline()).decode().removeprefix("listening on ").strip()
    async with connect(url) as client:
        await client.load("stuck")
        if state != "idle":
            await anext(aiter(client.stream("go", model=state)))
        family = _descendants(core.pid)
        os.kill(core.pid, signal.SIGKILL)
        begun = time.monotonic()
    while left := [pid for pid in family if _lives(pid)]:
        if time.monotonic() - begun > GONE_SECONDS:
            raise Violation(f"{state}: {left} outlived the core by {GONE_SECONDS:g} s")
        await asyncio.sleep(0.01)
    await core.wait()
    return time.monotonic() - begun


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [each for child in children for each in (int(child), *_descendants(int(child)))]


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
