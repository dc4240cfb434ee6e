"""`scripts/bench`: runs each measurement and writes a table.

scripts/bench                all of them
scripts/bench interrupt      one of them
scripts/bench --short        fewer rounds
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))  # the fake upstreams

from bench import (
    chats,
    doors,
    http,
    install,
    interrupt,
    jobs,
    local,
    memory,
    start,
    streams,
    typed,
    workers,
)
from bench.module import Row, write_table

MEASUREMENTS = {
    "start": start.measure,
    "install": install.measure,
    "memory": memory.measure,
    "interrupt": interrupt.measure,
    "jobs": jobs.measure,
    "local": local.measure,
    "chats": chats.measure,
    "doors": doors.measure,
    "http": http.measure,
    "workers": workers.measure,
    "streams": streams.measure,
    "typed": typed.measure,
}
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    chosen = _chosen()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="waifu-bench-") as home:
        for name in chosen.names or MEASUREMENTS:
            print(f"measuring: {name}", file=sys.stderr)
            rows += MEASUREMENTS[name](Path(home), short=chosen.short)
    table = write_table(rows, _machine())
    print(table)
    if not chosen.names and not chosen.short:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "results.md").write_text(table, "utf-8")


def _chosen() -> argparse.Namespace:
    known = ", ".join(MEASUREMENTS)
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {known}")
    parser.add_argument("--short", action="store_true", help="fewer rounds, for a first look")
    chosen = parser.parse_args()
    for name in chosen.names:
        if name not in MEASUREMENTS:
            parser.error(f"there is no measurement {name}: only {known}")
    return chosen


def _machine() -> str:
    day = datetime.now(UTC).date()
    cores = os.cpu_count()
    python = platform.python_version()
    return f"{day}, {cores} cores, {platform.system()} {platform.machine()}, Python {python}"


if __name__ == "__main__":
    main()
