"""What is counted while the module lives: a few additions for each request, none for a chunk.

Names of providers are those of the catalogue, never what a client says: so there are only so many.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

LATENCIES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
WHOLES = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
OBEDIENCE = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
NO_PROVIDER = "none"
"""Under this name stands what failed before it was known who should do it."""


class Histogram:
    """How often something took how long, in seconds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """The last is for what took longer than the last bound."""
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


class Figures:
    """What one provider came to."""

    def __init__(self) -> None:
        self.generations: Counter[str] = Counter()
        """How many ended in which way: `stop`, `length` …, or the code of an error."""
        self.input_tokens = 0
        self.output_tokens = 0
        self.deaths = 0
        self.first_token = Histogram(LATENCIES)
        self.whole = Histogram(WHOLES)
        self.interrupts = Histogram(OBEDIENCE)
        """From an interrupt until nothing more is spent on what it ended."""

    def died(self) -> None:
        self.deaths += 1

    def ended(self, how: str, first_token_ms: float | None, total_ms: float) -> None:
        self.generations[how] += 1
        self.whole.add(total_ms / 1000)
        if first_token_ms is not None:
            self.first_token.add(first_token_ms / 1000)

    def used(self, input_tokens: int, output_tokens: int) -> None:
        """As the provider counted them."""
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens


class Metrics:
    """Those of all providers."""

    def __init__(self) -> None:
        self.figures: dict[str, Figures] = {}

    def of(self, provider: str) -> Figures:
        if provider not in self.figures:
            self.figures[provider] = Figures()
        return self.figures[provider]
