"""What came out of many runs: medians, ratios, and a plot."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path

from bench.module import Row, percentile
from bench.scenario import FLOOD, PACED, SHORT, Outcome

US, SDK, PROXY, FLOOR = "waifu-llm", "sdk", "litellm", "direct"
TITLES = {
    FLOOR: "the bare HTTP stream",
    SDK: "OpenAI's SDK, called directly",
    US: "waifu-llm, core and provider",
    PROXY: "LiteLLM's proxy",
}


class Figures:
    """Outcomes by scenario and target."""

    def __init__(self, outcomes: Mapping[tuple[str, str], list[Outcome]]) -> None:
        self._outcomes = outcomes

    def median(self, scenario: str, target: str, what: Callable[[Outcome], float]) -> float:
        return statistics.median(what(each) for each in self._outcomes[scenario, target])

    def cpu(self, scenario: str, target: str) -> float:
        return self.median(scenario, target, lambda outcome: outcome.cpu_us_per_chunk)

    def late(self, scenario: str, target: str, percent: int) -> float:
        return self.median(scenario, target, lambda o: percentile(o.latency_ms, percent))

    def first(self, scenario: str, target: str) -> float:
        return self.median(scenario, target, lambda o: percentile(o.first_chunk_ms, 50))

    def rate(self, scenario: str, target: str) -> float:
        return self.median(scenario, target, lambda outcome: outcome.chunks_per_second)

    def core(self, scenario: str) -> float:
        return self.median(scenario, US, lambda o: 1e6 * o.cpu_seconds["core"] / max(1, o.chunks))

    # What we aim for

    def against_our_aims(self) -> list[Row]:
        """Each aim is a ratio, or a difference, within one run."""
        return [
            self._cheaper("flood 64", SDK, 0.2),
            self._cheaper("paced 64", SDK, 0.45),
            self._cheaper("flood 64", PROXY, 1 / 25),
            self._cheaper("paced 64", PROXY, 1 / 8),
            Row("the core's share, flood 64", f"{self.core('flood 64'):.1f} µs a chunk", "4 µs"),
            Row("paced 256, of the floor's rate", self._share("paced 256"), "98 %"),
            self._added("paced 256", 50, 1.0),
            self._added("paced 256", 99, 20.0),
            self._added("paced 64", 50, 0.25),
            self._added("paced 64", 99, 2.0),
            self._first("paced 1", 2.0),
            self._requests(15),
        ]

    def _cheaper(self, scenario: str, than: str, aim: float) -> Row:
        ours, theirs = self.cpu(scenario, US), self.cpu(scenario, than)
        figure = f"{ours / theirs:.3f} ({ours:.1f} µs to {theirs:.1f} µs)"
        return Row(f"CPU a chunk, {scenario}, to {TITLES[than]}", figure, f"{aim:.3g}")

    def _share(self, scenario: str) -> str:
        return f"{100 * self.rate(scenario, US) / self.rate(scenario, FLOOR):.1f} %"

    def _added(self, scenario: str, percent: int, aim: float) -> Row:
        added = self.late(scenario, US, percent) - self.late(scenario, FLOOR, percent)
        return Row(f"latency added, {scenario}, p{percent}", f"{added:.2f} ms", f"{aim:g} ms")

    def _first(self, scenario: str, aim: float) -> Row:
        added = self.first(scenario, US) - self.first(scenario, FLOOR)
        return Row(f"first chunk, {scenario}, over the floor", f"{added:.2f} ms", f"{aim:g} ms")

    def _requests(self, aim: float) -> Row:
        (scenario,) = SHORT
        ours, theirs = (self.rate(scenario.name, target) for target in (US, PROXY))
        figure = f"{ours / theirs:.1f} times ({ours:.0f}/s to {theirs:.0f}/s)"
        what = f"requests of one chunk, {scenario.streams} at a time, to {TITLES[PROXY]}"
        return Row(what, figure, f"{aim:g} times")

    # All of it

    def everything(self) -> list[Row]:
        return [
            Row(f"{scenario.name}: {TITLES[target]}", self._line(scenario.name, target))
            for scenario in (*FLOOD, *PACED, *SHORT)
            for target in TITLES
        ]

    def _line(self, scenario: str, target: str) -> str:
        parts = [f"{self.rate(scenario, target):,.0f} chunks/s"]
        if target != FLOOR:
            parts.append(f"{self.cpu(scenario, target):.1f} µs CPU")
        parts.append(f"first after {self.first(scenario, target):.1f} ms")
        if scenario.startswith("paced"):
            middle, high = (self.late(scenario, target, percent) for percent in (50, 99))
            parts.append(f"late by p50 {middle:.2f} ms, p99 {high:.2f} ms")
        return ", ".join(parts)

    def draw(self, file: Path) -> None:
        """CPU a chunk, on a scale of tens: bars that differ by hundreds fit no other."""
        bars = [
            (f"{scenario}: {TITLES[target]}", self.cpu(scenario, target), target == US)
            for scenario in ("flood 64", "paced 64")
            for target in (US, SDK, PROXY)
        ]
        file.parent.mkdir(exist_ok=True)
        file.write_text(_svg("CPU for each chunk, 64 streams (µs)", bars), "utf-8")


_ROW, _LEFT, _WIDTH = 30, 300, 760


def _svg(title: str, bars: list[tuple[str, float, bool]]) -> str:
    most = math.log10(max(value for _, value, _ in bars)) + 0.2
    height = _ROW * (len(bars) + 2)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="14">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="12" y="24" font-weight="bold">{escape(title)}</text>',
    ]
    for number, (label, value, ours) in enumerate(bars):
        top = _ROW * (number + 1.3)
        length = max(2.0, (_WIDTH - _LEFT - 80) * math.log10(max(1.1, value)) / most)
        fill = "#d6336c" if ours else "#adb5bd"
        lines += [
            f'<text x="12" y="{top + 17:.0f}">{escape(label)}</text>',
            f'<rect x="{_LEFT}" y="{top:.0f}" width="{length:.0f}" height="22" fill="{fill}"/>',
            f'<text x="{_LEFT + length + 6:.0f}" y="{top + 17:.0f}">{value:.1f}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"
