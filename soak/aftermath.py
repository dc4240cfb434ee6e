"""When it is over: what came of it, what is left, whether it grew, and that it closes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from soak.clients import ANSWER_SECONDS
from soak.cycles import SPARE_DESCRIPTORS
from soak.family import Core
from soak.history import Violation
from soak.meter import ALLOWED, Meter, Reading
from waifu_llm.client import connect

CLOSE_SECONDS = 8.0


def tell(outcomes: Counter[str], deeds: Counter[str], meter: Meter) -> None:
    print("what came of it:", dict(outcomes.most_common()))
    print("what was done to it:", dict(deeds.most_common()))
    last = meter.readings[-1]
    print(f"at the end: {last.memory_mb:.1f} MB, {last.descriptors} descriptors", end="")
    print(f", {last.threads} threads, {last.processes} processes")


async def until_nothing_is_loaded(url: str) -> None:
    """Nobody is there: what runs ends, and what is loaded is freed."""
    async with asyncio.timeout(ANSWER_SECONDS):
        while await _is_busy(url):
            await asyncio.sleep(0.1)


async def _is_busy(url: str) -> bool:
    async with connect(url) as client:
        status = await client.status()
    return any(status[what] for what in ("generations", "waiting", "loads"))


def check_what_is_left(before: Reading, after: Reading) -> None:
    more = after.descriptors - before.descriptors
    print(f"left when all is freed: {after.processes} processes, {more:+d} descriptors")
    if after.processes or more > SPARE_DESCRIPTORS:
        raise Violation(f"{after} is left, where there was {before}")


def check_growth(meter: Meter, seconds: float) -> None:
    growth = {what: meter.growth_in_an_hour(what) for what in ALLOWED}
    told = ", ".join(f"{what} {slope:+.2f}" for what, slope in growth.items())
    print(f"growth in an hour: {told}")
    if seconds >= 3600 and any(growth[what] > ALLOWED[what] for what in ALLOWED):
        raise Violation(f"it grows: {told}")


async def check_that_it_closes(module: Core, url: str) -> None:
    async with connect(url) as client:
        begun = time.monotonic()
        await client.close_module()
    code = await module.wait()
    took = time.monotonic() - begun
    print(f"closed in {took:.1f} s with status {code}")
    if code or took > CLOSE_SECONDS:
        raise Violation(f"it took {took:.1f} s to close, with status {code}")
