"""The last few of many names."""

from __future__ import annotations

from collections.abc import Iterator


class Recent:
    """Each once, the last one last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._names: dict[str, None] = {}

    def add(self, name: str) -> None:
        self._names.pop(name, None)
        self._names[name] = None
        if len(self._names) > self._most:
            del self._names[next(iter(self._names))]

    def forget(self, name: str) -> None:
        self._names.pop(name, None)

    def clear(self) -> None:
        self._names.clear()

    @property
    def last(self) -> str | None:
        return next(reversed(self._names), None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)
