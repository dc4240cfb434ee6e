"""Providers come and go by the hundred, each in its own way: nothing of them may stay."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from soak.family import descendants, left_of, lives, put_provider, start_core
from soak.history import Violation
from waifu_llm.client import connect
from waifu_llm.errors import ProviderCrashed

AT_ONCE = 8
GONE_SECONDS = 6.0
SPARE_DESCRIPTORS = 2
WAYS = ["given back", "killed", "crashed", "stubborn"]
PROVIDER = """
    import os, signal, subprocess, sys, threading
    from waifu_provider import Provider

    DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"

    class Provided(Provider):
        async def load(self, settings):
            subprocess.Popen([sys.executable, "-c", DEAF + "signal.pause()"])  # a grandchild
            if settings["way"] == "stubborn":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                os._exit = lambda status: None
                threading.Thread(target=threading.Event().wait).start()
        def models(self):
            return [str(os.getpid())]
        def generate(self, request):
            os._exit(1)
            yield
"""


async def come_and_go(home: Path, times: int) -> None:
    """
    Raises:
        Violation: When a process, a zombie or a descriptor stays.
    """
    put_provider(home, "mortal", PROVIDER, settings=("way", "number"))
    core, url = await start_core(home, "--idle-seconds", "0", "--log-level", "error")
    try:
        await _lives(url, AT_ONCE)  # what the first ones build up stays
        before = _descriptors(core.pid)
        worst = await _lives(url, times)
        await _check_what_is_left(core.pid, before)
    finally:
        core.kill()
        await core.wait()
    told = ", ".join(f"{way} {seconds:.2f} s" for way, seconds in sorted(worst.items()))
    print(f"{times} came and went; what was theirs was gone after, at most: {told}")


async def _lives(url: str, times: int) -> dict[str, float]:
    """As many lives, some at once; returns the longest death of each way to die."""
    numbers, worst = iter(range(times)), dict.fromkeys(WAYS, 0.0)

    async def one_after_another() -> None:
        for number in numbers:
            way = WAYS[number % len(WAYS)]
            worst[way] = max(worst[way], await _live(url, number, way))

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_after_another())
    return worst


async def _live(url: str, number: int, way: str) -> float:
    """Returns how long it took to die, grandchild and all."""
    async with connect(url) as client:
        await client.load("mortal", settings={"way": way, "number": str(number)})
        (name,) = await client.models()
        family = [int(name), *descendants(int(name))]
        begun = time.monotonic()
        if way == "killed":
            os.kill(int(name), signal.SIGKILL)
        elif way == "crashed":
            with suppress(ProviderCrashed):
                await client.generate("go", model=name)
    while left := [pid for pid in family if lives(pid)]:
        if time.monotonic() - begun > GONE_SECONDS:
            raise Violation(f"{way}: {left} live on after {GONE_SECONDS:g} s")
        await asyncio.sleep(0.01)
    return time.monotonic() - begun


async def _check_what_is_left(pid: int, before: int) -> None:
    left = await left_of(pid, GONE_SECONDS)
    more = _descriptors(pid) - before
    print(f"left: {len(left)} processes or zombies, {more:+d} descriptors")
    if left or abs(more) > SPARE_DESCRIPTORS:
        raise Violation(f"what came and went left {left} and {more} descriptors")


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
