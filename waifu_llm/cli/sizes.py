"""How bytes and times are written for people."""

from __future__ import annotations

import time


def megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB"


def ago(seconds: float | None) -> str:
    """How long ago a time was, as roughly as it is wanted."""
    if seconds is None:
        return "never used"
    passed = max(0.0, time.time() - seconds)
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if passed >= length:
            count = int(passed / length)
            return f"used {count} {unit}{'s' if count > 1 else ''} ago"
    return "used just now"
