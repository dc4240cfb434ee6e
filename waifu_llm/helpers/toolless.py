"""Which models lately took no tools: they are asked in plain text at once, and nobody waits for
them to refuse once more. For a while only, as there may be another model of that name by then."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from weakref import WeakKeyDictionary

from waifu_llm.loaded import Loaded

_SECONDS = 600.0


class Toolless:
    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._since: WeakKeyDictionary[Loaded, dict[str | None, float]] = WeakKeyDictionary()

    def add(self, loaded: Loaded, model: str | None) -> None:
        self._since.setdefault(loaded, {})[model] = self._clock()

    def has(self, loaded: Loaded, model: str | None) -> bool:
        since = self._since.get(loaded, {}).get(model)
        return since is not None and self._clock() < since + _SECONDS
