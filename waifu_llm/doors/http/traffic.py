"""What this door counts of itself."""

from __future__ import annotations

from collections import Counter


class Traffic:
    """Requests, by method, route and status."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.under_way = 0

    def begins(self) -> None:
        self.under_way += 1

    def ends(self, method: str, path: str, status: int) -> None:
        self.under_way -= 1
        self.requests[_known(method), path, status] += 1


def _known(method: str) -> str:
    """A client can make methods up: of those there are only so many that are counted."""
    known = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    return method if method in known else "other"
