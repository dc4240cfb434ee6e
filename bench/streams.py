"""Streams: what each chunk costs, how late it comes, and how many come at once.

Everyone reads the same fake upstream, one after the other within each round, and the order turns
every other round. What is shown are medians over the rounds, and ratios within this one run.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from fake_upstreams.running import running_upstream

from bench.figures import PROXY, TITLES, Figures
from bench.module import Row
from bench.scenario import FLOOD, PACED, SHORT, Outcome, Scenario
from bench.targets import Direct, Module, Proxy, Sdk, python_of, running_proxy, running_us

ROUNDS = 3


class Target(Protocol):
    name: str

    def run(self, scenario: Scenario) -> Outcome: ...


def measure(home: Path, *, short: bool) -> list[Row]:
    with _targets(home) as targets:
        proxy = _tell_of_the_proxy(targets[-1])
        figures = Figures(_run_all(targets, 1 if short else ROUNDS))
    if not short:
        figures.draw(Path(__file__).parent / "results" / "streams.svg")
    return [*figures.against_our_aims(), proxy, *figures.everything()]


def _tell_of_the_proxy(proxy: Proxy) -> Row:
    seconds, megabytes = proxy.start_seconds, proxy.idle_bytes / 2**20
    figure = f"{1000 * seconds:,.0f} ms, {megabytes:.0f} MB"
    return Row(f"{TITLES[PROXY]}: process start to its first answer, idle", figure)


@contextmanager
def _targets(home: Path) -> Iterator[tuple[Direct, Sdk, Module, Proxy]]:
    with ExitStack() as stack:
        url = stack.enter_context(running_upstream()).base_url
        us = stack.enter_context(running_us(home, url))
        proxy = stack.enter_context(running_proxy(url))
        yield Direct(url), Sdk(url, python_of(home, "openai")), us, proxy


def _run_all(targets: Sequence[Target], rounds: int) -> dict[tuple[str, str], list[Outcome]]:
    outcomes = defaultdict(list)
    for number in range(rounds):
        for scenario in (*FLOOD, *PACED, *SHORT):
            print(f"round {number + 1}: {scenario.name}", file=sys.stderr)
            for target in targets if number % 2 == 0 else targets[::-1]:
                outcome = target.run(scenario)
                if outcome.chunks != scenario.expected:
                    came = f"{outcome.chunks} of {scenario.expected} chunks came"
                    raise RuntimeError(f"{target.name}, {scenario.name}: {came}")
                outcomes[scenario.name, target.name].append(outcome)
    return outcomes
