"""What the module holds while time passes, and whether that grows."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

INTERVAL_SECONDS = 1.0
WARM_UP = 0.2
"""The first part of the readings: what is built up there stays."""
ALLOWED = {"memory_mb": 2.0, "descriptors": 1.0, "threads": 0.5, "processes": 0.5}
"""How much each may grow in an hour. Runs that are shorter tell of noise, and are not judged."""


@dataclass
class Reading:
    """One look at the core."""

    seconds: float
    memory_mb: float
    descriptors: int
    threads: int
    processes: int


class Meter:
    """Reads the kernel's figures of one process."""

    def __init__(self, pid: int) -> None:
        self._process = Path(f"/proc/{pid}")
        self._begun = time.monotonic()
        self.readings: list[Reading] = []

    async def watch(self, ending: asyncio.Event, interval: float = INTERVAL_SECONDS) -> None:
        while not ending.is_set():
            self.readings.append(self.read())
            await asyncio.sleep(interval)

    def read(self) -> Reading:
        status = dict(
            line.split(":", 1) for line in (self._process / "status").read_text().splitlines()
        )
        kilobytes = sum(int(status[name].split()[0]) for name in ("RssAnon", "VmSwap"))
        return Reading(
            seconds=time.monotonic() - self._begun,
            memory_mb=kilobytes / 1024,
            descriptors=len(os.listdir(self._process / "fd")),
            threads=int(status["Threads"]),
            processes=self._children(),
        )

    def _children(self) -> int:
        children = self._process / "task" / self._process.name / "children"
        return len(children.read_text().split())

    def growth_in_an_hour(self, what: str) -> float:
        """The slope of a line through the lowest of each tenth: peaks are no leak."""
        settled = self.readings[int(len(self.readings) * WARM_UP) :]
        points = _lows([(each.seconds, float(getattr(each, what))) for each in settled])
        return 3600 * _slope(points)


def _lows(points: list[tuple[float, float]], parts: int = 10) -> list[tuple[float, float]]:
    size = max(1, len(points) // parts)
    groups = [points[at : at + size] for at in range(0, len(points), size)]
    return [min(group, key=lambda point: point[1]) for group in groups]


def _slope(points: list[tuple[float, float]]) -> float:
    """By least squares."""
    count = len(points)
    if count < 2:
        return 0.0
    middle_x = sum(x for x, _ in points) / count
    middle_y = sum(y for _, y in points) / count
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else 0.0
