"""What an installer's lines mean to somebody who waits: what is being done, and how far it is."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from waifu_llm.backend import Progress

BEGIN, FETCHED, END = 0.25, 0.8, 0.9
"""Where an installation begins, has fetched everything, and ends, of all that is to be done."""
REPEAT_SECONDS = 1.0

_NAME = r"(?P<name>[A-Za-z0-9][A-Za-z0-9._]*)-\d[^-/ ]*-[^/ ]*\.whl"
_FETCHING = re.compile(
    rf"(?:GET request for: \S*/|^\s*Downloading (?:\S*/)?|^\s*Using cached (?:\S*/)?){_NAME}(?: |$)"
)
_BUILDING = re.compile(
    r"^\s*(?:Building wheel for (?P<pip>[A-Za-z0-9._-]+)|Building (?P<uv>[A-Za-z0-9._-]+)[ =])"
)
_PUTTING = re.compile(r"^(?:Prepared \d+ package|Installing collected packages)")


class Told:
    """Reads along with uv or pip, and tells a Progress. One that is silent is seen to live."""

    def __init__(self, title: str, total: int, progress: Progress, fetched: Fetched) -> None:
        self._title = title
        self._total = max(1, total)
        self._progress = progress
        self._fetched = fetched
        self._names: dict[str, None] = {}
        self._phase, self._what = "resolve", f"Looking for what {title} needs"
        self._since = self._last = time.monotonic()

    def watch(self, lines: list[str]) -> None:
        """A Watch."""
        before = self._what
        for line in lines:
            self._read(line)
        if self._what != before or time.monotonic() - self._last >= REPEAT_SECONDS:
            self._tell()

    def _read(self, line: str) -> None:
        if found := _FETCHING.search(line):
            name = found["name"].replace("_", "-")
            self._names[name] = None
            self._now("download", f"Fetching {name}")
        elif found := _BUILDING.search(line):
            self._now("build", f"Building {found['pip'] or found['uv']}")
        elif _PUTTING.search(line):
            self._now("install", f"Putting the packages of {self._title} in place")

    def _now(self, phase: str, what: str) -> None:
        if what != self._what:
            self._phase, self._what, self._since = phase, what, time.monotonic()

    def _tell(self) -> None:
        self._last = time.monotonic()
        self._progress(self._phase, self._fraction(), f"{self._what}{self._details()}.")

    def _fraction(self) -> float:
        if self._phase == "install":
            return FETCHED
        share = min(1.0, len(self._names) / self._total)
        return round(BEGIN + (FETCHED - BEGIN) * share, 3)

    def _details(self) -> str:
        if self._phase == "download":
            size = self._fetched()
            under_way = f", {size / 1e6:.1f} MB under way" if size else ""
            return f" ({len(self._names)} of {self._total} packages{under_way})"
        seconds = int(self._last - self._since)
        return f" ({seconds} s)" if seconds else ""


Fetched = Callable[[], int]
"""How many bytes lie there half-fetched."""


def bytes_below(folders: list[Path]) -> int:
    """Files come and go meanwhile."""
    total = 0
    for folder in folders:
        for parent, _, names in os.walk(folder):
            total += sum(_size(os.path.join(parent, name)) for name in names)
    return total


def _size(file: str) -> int:
    try:
        return os.lstat(file).st_size
    except OSError:
        return 0
