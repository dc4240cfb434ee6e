"""`scripts/bench`: runs each measurement, prints its table, and keeps it in bench/results.

scripts/bench                all of them
scripts/bench interrupt      one of them
scripts/bench --short        fewer rounds, of which nothing is kept
"""

from __future__ import annotations

import argparse
import sys
import tempfile
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
    tables,
    typed,
    workers,
)

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


def main() -> None:
    chosen = _chosen()
    with tempfile.TemporaryDirectory(prefix="waifu-bench-") as home:
        for name in chosen.names or MEASUREMENTS:
            print(f"measuring: {name}", file=sys.stderr)
            table = tables.written(MEASUREMENTS[name](Path(home), short=chosen.short))
            print(f"{name}\n\n{table}")
            if not chosen.short:
                tables.keep({name: table}, list(MEASUREMENTS))


def _chosen() -> argparse.Namespace:
    known = ", ".join(MEASUREMENTS)
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {known}")
    parser.add_argument("--short", action="store_true", help="fewer rounds, kept nowhere")
    chosen = parser.parse_args()
    for name in chosen.names:
        if name not in MEASUREMENTS:
            parser.error(f"there is no measurement {name}: only {known}")
    return chosen


if __name__ == "__main__":
    main()
