"""A module to measure, and how figures are shown."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One figure: what it is, what came out, and what was aimed for."""

    what: str
    figure: str
    aim: str = ""


@contextmanager
def running_module(home: Path, *flags: str) -> Iterator[tuple[str, int, float]]:
    """A module in a process of its own: its address, its process id, seconds until it listened."""
    command = [sys.executable, "-m", "waifu_llm", "serve", "--port", "0", *flags]
    variables = {**os.environ, "WAIFU_LLM_HOME": str(home)}
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        seconds = time.perf_counter() - begun
        yield line.removeprefix("listening on ").strip(), process.pid, seconds
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def percentile(values: Sequence[float], percent: int) -> float:
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
