"""How many jobs there may be: each waits in memory until it is done.

One that has begun and waits for a place at another provider is one that waits: so no more than may
wait are ever between two streams, but for those that run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from waifu_llm.config import Config
from waifu_llm.errors import Overloaded
from waifu_llm.jobs.job import Job

MOST_BYTES = 256 * 1024 * 1024
"""What all jobs that have not ended may come to together."""
_RETRY_AFTER_MS = 1_000


class Room:
    """Counts those that wait, by client, and what all take up until they end."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._waiting: Counter[str] = Counter()
        self._carried: dict[Job, int] = {}
        self._bytes = 0
        self.between = 0
        """How many of those that wait have begun."""

    @property
    def waiting(self) -> int:
        return self._waiting.total()

    def check(self, job: Job) -> None:
        """
        Raises:
            Overloaded: When there is none left for this one.
        """
        limits, own = self._config, self._waiting[job.client]
        if self.waiting >= limits.max_jobs:
            what = f"{self.waiting} jobs wait already"
        elif self._bytes + job.size > MOST_BYTES:
            what = f"Jobs of {self._bytes} bytes wait and run already, and {MOST_BYTES} are taken"
        elif own >= limits.max_jobs_per_client:
            what = f"{own} jobs of this client wait already"
        else:
            return
        raise Overloaded(
            f"{what}. Try again when some of them are done.", retry_after_ms=_RETRY_AFTER_MS
        )

    def enter(self, job: Job) -> None:
        self._bytes += job.size
        self._waits(job)

    @contextmanager
    def moving(self, job: Job) -> Iterator[None]:
        """It goes on elsewhere, once it has a place there."""
        self._waits(job)
        self.between += 1
        try:
            yield
        finally:
            self.between -= 1
            self.waits_no_longer(job)

    def carries(self, job: Job, size: int) -> None:
        """What it takes from one stream to the next."""
        self._bytes += size - self._carried.get(job, 0)
        self._carried[job] = size

    def _waits(self, job: Job) -> None:
        self._waiting[job.client] += 1

    def waits_no_longer(self, job: Job) -> None:
        self._waiting[job.client] -= 1
        if not self._waiting[job.client]:
            del self._waiting[job.client]

    def leave(self, job: Job) -> None:
        self._bytes -= job.size + self._carried.pop(job, 0)
