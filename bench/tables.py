"""What was measured, as bench/results/results.md keeps it: a table for each measurement, with a day
and a machine of its own, so that one can be measured anew without the others."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.module import Row

_FILE = Path(__file__).parent / "results" / "results.md"
_HEADING = "## "


def written(rows: Sequence[Row]) -> str:
    lines = [f"Measured on {_machine()}.", "", "| | measured | aim |", "|---|---|---|"]
    lines += [f"| {row.what} | {row.figure} | {row.aim} |" for row in rows]
    return "\n".join(lines) + "\n"


def keep(new: Mapping[str, str], order: Sequence[str], file: Path = _FILE) -> None:
    """Put these tables in the place of what was measured before under their names."""
    tables = {**_kept(file), **new}
    known = [name for name in order if name in tables]
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(f"{_HEADING}{name}\n\n{tables[name]}" for name in known), "utf-8")


def _kept(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    sections = f"\n{file.read_text('utf-8')}".split(f"\n{_HEADING}")[1:]
    pairs = (section.split("\n\n", 1) for section in sections)
    return {name: f"{text.rstrip()}\n" for name, text in pairs}


def _machine() -> str:
    day = datetime.now(UTC).date()
    cores = os.cpu_count()
    python = platform.python_version()
    return f"{day}, {cores} cores, {platform.system()} {platform.machine()}, Python {python}"
