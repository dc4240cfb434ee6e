"""The HTTP door: what it adds to the WebSocket's, and how it does beside LiteLLM's proxy.

All three read the same fake upstream, one after the other within each round; medians over rounds.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fake_upstreams.running import running_upstream

from bench.module import Row, running_module
from bench.scenario import KEY, Outcome, Scenario
from bench.targets import Door, Module, Proxy, free_port, running_proxy

ROUNDS = 3
FIRST = Scenario("one chunk", 1, 1, requests=50)
MANY = Scenario("one chunk", 16, 1, requests=20)
FLOOD = Scenario("flood 64", 64, 200, per_write=32)
PACED = Scenario("paced 64", 64, 200, delay_ms=20, spread_seconds=1)
SCENARIOS = {"first": FIRST, "many": MANY, "flood": FLOOD, "paced": PACED}

Outcomes = dict[tuple[str, str], list[Outcome]]


def measure(home: Path, *, short: bool) -> list[Row]:
    with _targets(home) as (us, door, proxy):
        outcomes = _run_all((us, door, proxy), 1 if short else ROUNDS)
    return [_added(outcomes), *_streams(outcomes), *_cpu(outcomes)]


@contextmanager
def _targets(home: Path) -> Iterator[tuple[Module, Door, Proxy]]:
    with ExitStack() as stack:
        upstream = stack.enter_context(running_upstream()).base_url
        settings = f'[providers.openai]\napi_key = "{KEY}"\nbase_url = "{upstream}"\n'
        (home / "waifu-llm.toml").write_text(settings, "utf-8")
        port = free_port()
        flags = ("--token", KEY, "--http-port", str(port))
        url, pid, _ = stack.enter_context(running_module(home, *flags))
        us = Module(url, pid, upstream)
        door = Door(port, pid, us.provider_pid)
        yield us, door, stack.enter_context(running_proxy(upstream))
        (home / "waifu-llm.toml").unlink()


def _run_all(targets: Sequence[Module | Door | Proxy], rounds: int) -> Outcomes:
    outcomes: Outcomes = defaultdict(list)
    for number in range(rounds):
        for name, scenario in SCENARIOS.items():
            print(f"round {number + 1}: {name}", file=sys.stderr)
            for target in targets if number % 2 == 0 else targets[::-1]:
                outcome = target.run(scenario)
                if outcome.chunks != scenario.expected:
                    raise RuntimeError(f"{target.name}: {outcome.chunks} of {scenario.expected}")
                outcomes[name, target.name].append(outcome)
    return outcomes


def _added(outcomes: Outcomes) -> Row:
    ours, door = (
        statistics.median(ms for each in outcomes["first", name] for ms in each.first_chunk_ms)
        for name in (Module.name, Door.name)
    )
    figure = f"{door - ours:+.2f} ms: {door:.2f} ms, and {ours:.2f} ms over the WebSocket"
    return Row("HTTP: added time to first token, median", figure, "< 1 ms")


def _streams(outcomes: Outcomes) -> list[Row]:
    """Streams of one chunk each, 16 at a time."""
    door, proxy = (
        statistics.median(MANY.streams * MANY.requests / each.seconds for each in outcomes[name])
        for name in (("many", Door.name), ("many", Proxy.name))
    )
    figure = f"{door:.0f}; LiteLLM's proxy {proxy:.0f}; {door / proxy:.1f} times as many"
    return [Row("HTTP: streams per second", figure, "5 times as many")]


def _cpu(outcomes: Outcomes) -> Iterator[Row]:
    for scenario in ("flood", "paced"):
        ours, door, proxy = (
            statistics.median(each.cpu_us_per_chunk for each in outcomes[scenario, name])
            for name in (Module.name, Door.name, Proxy.name)
        )
        figure = f"{door:.1f} µs; WebSocket {ours:.1f}; LiteLLM's proxy {proxy:.0f}"
        less = f"; {proxy / door:.0f} times less"
        what = f"HTTP: CPU per chunk, {SCENARIOS[scenario].name}, all our processes"
        yield Row(what, figure + less, "5 times less")
