"""Text that comes in small pieces, kept in few: a small string costs ten times its letters."""

from __future__ import annotations

from collections.abc import Iterator

_FEW = 1024
LARGEST_PART = 40_000
"""Characters: written as JSON they are less than 256 KiB, whichever they are."""


def parts(text: str) -> Iterator[str]:
    """The same in pieces that every client can take."""
    for start in range(0, len(text), LARGEST_PART):
        yield text[start : start + LARGEST_PART]


class Gathered:
    """Collects text."""

    __slots__ = ("_new", "_old")

    def __init__(self) -> None:
        self._old: list[str] = []
        self._new: list[str] = []

    def add(self, piece: str) -> None:
        self._new.append(piece)
        if len(self._new) >= _FEW:
            self._old.append("".join(self._new))
            self._new.clear()

    def text(self) -> str:
        return "".join((*self._old, *self._new))
