"""What is asked of everyone that is measured, and what came out."""

from __future__ import annotations

from dataclasses import dataclass, field

KEY = "sk-bench"


@dataclass(frozen=True)
class Scenario:
    """So many streams at a time, each of so many chunks, flooded or paced."""

    name: str
    streams: int
    chunks: int
    per_write: int = 1
    delay_ms: int = 0
    spread_seconds: float = 0.0
    requests: int = 1
    """How many each stream asks for, one after the other."""

    @property
    def model(self) -> str:
        """The fake upstream reads there how it is to answer."""
        return f"bench-{self.chunks}-{self.per_write}-{self.delay_ms}"

    @property
    def expected(self) -> int:
        return self.streams * self.requests * self.chunks


@dataclass
class Outcome:
    """What one run came to. Latencies are from the upstream's write to the client's read."""

    chunks: int = 0
    seconds: float = 0.0
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    first_chunk_ms: list[float] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)

    @property
    def cpu_us_per_chunk(self) -> float:
        return 1e6 * sum(self.cpu_seconds.values()) / max(1, self.chunks)

    @property
    def chunks_per_second(self) -> float:
        return self.chunks / self.seconds


FLOOD = [
    Scenario("flood 1", 1, 200, per_write=32, requests=5),
    Scenario("flood 16", 16, 200, per_write=32),
    Scenario("flood 64", 64, 200, per_write=32),
    Scenario("flood 256", 256, 200, per_write=32),
]
PACED = [
    Scenario("paced 1", 1, 50, delay_ms=20, requests=5),
    Scenario("paced 16", 16, 200, delay_ms=20, spread_seconds=1),
    Scenario("paced 64", 64, 200, delay_ms=20, spread_seconds=1),
    Scenario("paced 256", 256, 200, delay_ms=20, spread_seconds=5),
]
SHORT = [Scenario("one chunk", 16, 1, requests=40)]
