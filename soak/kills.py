"""The core is killed, over and over, whatever its providers do: nothing of ours may remain."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from soak.family import descendants, lives, put_provider, start_core
from soak.history import Violation
from waifu_llm.client import connect

GONE_SECONDS = 3.0
STATES = ["idle", "streaming", "stuck in a thread", "stuck in the interpreter"]
PROVIDER = """
    import re, subprocess, sys, time
    from waifu_provider import Provider

    class Provided(Provider):
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
    put_provider(home, "stuck", PROVIDER)
    worst = 0.0
    for number in range(times):
        worst = max(worst, await _kill_once(home, STATES[number % len(STATES)]))
    print(f"killed {times} times; all were gone after {worst:.2f} s at most")


async def _kill_once(home: Path, state: str) -> float:
    """Returns how long the last of its processes lived on."""
    core, url = await start_core(home)
    async with connect(url) as client:
        await client.load("stuck")
        if state != "idle":
            await anext(aiter(client.stream("go", model=state)))
        family = descendants(core.pid)
        os.kill(core.pid, signal.SIGKILL)
        begun = time.monotonic()
    while left := [pid for pid in family if lives(pid)]:
        if time.monotonic() - begun > GONE_SECONDS:
            raise Violation(f"{state}: {left} outlived the core by {GONE_SECONDS:g} s")
        await asyncio.sleep(0.01)
    await core.wait()
    return time.monotonic() - begun
