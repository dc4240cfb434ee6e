"""Text that comes in small pieces, kept in few: a small string costs ten times its letters."""

from __future__ import annotations

_FEW = 1024


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
