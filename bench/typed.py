"""What a chunk costs each cloud provider's process, to what its SDK's own typed stream costs.

Both read the same fake upstream of that vendor, in turn, and the order turns every other round. A
vendor is a line of VENDORS and a file in sdks/.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

from fake_upstreams.running import OPENAI, running_upstream

from bench.module import Row, running_module
from bench.scenario import FLOOD, PACED, Scenario
from bench.targets import Module, Sdk, python_of

ROUNDS = 3
AIM = 0.5


@dataclass(frozen=True)
class Vendor:
    """A provider of ours, and the upstream that speaks its vendor's wire."""

    provider: str
    upstream: Path = OPENAI


VENDORS = [
    Vendor("openai"),
    *(
        Vendor(name, OPENAI.with_name(f"{name}_api.py"))
        for name in ("groq", "anthropic", "gemini", "mistral", "cohere")
    ),
]
SCENARIOS = [each for each in (*FLOOD, *PACED) if each.streams == 64]


def measure(home: Path, *, short: bool) -> list[Row]:
    return [row for vendor in VENDORS for row in _rows(vendor, home, 1 if short else ROUNDS)]


def _rows(vendor: Vendor, home: Path, rounds: int) -> list[Row]:
    with running_upstream(vendor.upstream) as upstream, running_module(home) as (url, pid, _):
        ours = Module(url, pid, upstream.base_url, vendor.provider)
        theirs = Sdk(upstream.base_url, python_of(home, vendor.provider), vendor.provider)
        return [_row(scenario, ours, theirs, rounds) for scenario in SCENARIOS]


def _row(scenario: Scenario, ours: Module, theirs: Sdk, rounds: int) -> Row:
    spent: dict[str, list[float]] = {ours.name: [], theirs.name: []}
    for number in range(rounds):
        print(f"{ours.provider}, round {number + 1}: {scenario.name}", file=sys.stderr)
        for target in (ours, theirs) if number % 2 == 0 else (theirs, ours):
            outcome = target.run(scenario)
            of_core = outcome.cpu_seconds.get("core", 0.0)
            alone = sum(outcome.cpu_seconds.values()) - of_core
            spent[target.name].append(1e6 * alone / outcome.chunks)
    mine, sdk = (statistics.median(spent[target.name]) for target in (ours, theirs))
    what = (
        f"CPU a chunk of the provider {ours.provider}, {scenario.name}, to its SDK's typed stream"
    )
    return Row(what, f"{mine / sdk:.3f} ({mine:.1f} µs to {sdk:.1f} µs)", f"{AIM:g}")
