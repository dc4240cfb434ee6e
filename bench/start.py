"""From the start of the process until it listens."""

from __future__ import annotations

from pathlib import Path

from bench.module import Row, percentile, running_module


def measure(home: Path, *, short: bool) -> list[Row]:
    rounds = 5 if short else 30
    with running_module(home):
        pass  # the first start compiles, and makes the token
    seconds = []
    for _ in range(rounds):
        with running_module(home) as (_, _, took):
            seconds.append(took)
    middle, worst = percentile(seconds, 50), max(seconds)
    figure = f"{middle * 1000:.0f} ms median, {worst * 1000:.0f} ms at most, {rounds} starts"
    return [Row("process start to listening", figure, "250 ms")]
