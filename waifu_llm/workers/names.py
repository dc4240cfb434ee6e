"""What everything of ours is called in Redis, and what work is sorted by.

    {waifu}:work:URGENCY:ROUTE   streams of what is to be done; entries go when they are done
    {waifu}:to:WORKER            what one worker is told: which runs are to stop
    {waifu}:back:MODULE          what workers answer one module
    {waifu}:worker:WORKER        what a worker says of itself, until its lease ends
    {waifu}:module:MODULE        that a module is there, until its lease ends
    {waifu}:workers              who may be there, by when it was last heard of
    {waifu}:routes               which streams there may be, by when they were last used
    {waifu}:parked               what could not be done, with its reason

The braces keep all of it on one node of a cluster.
"""

from __future__ import annotations

import hashlib
from typing import get_args

from waifu_llm.backend import Urgency

URGENCIES: tuple[Urgency, ...] = get_args(Urgency)
WEIGHTS = {"live": 8, "normal": 4, "low": 1}
"""How often each comes first, where all of them wait."""
GROUP = "workers"
ANY = "*"
UNUSED_SECONDS = 3600
"""So long stays what nobody uses."""
_LONGEST = 120
_SHORTEST_PRESENCE = 5


def route(provider: str, model: str | None = None) -> str:
    """What a request is sorted by: its provider, and the model where that says who can do it."""
    if not model:
        return provider
    if len(model) > _LONGEST:
        model = hashlib.sha256(model.encode()).hexdigest()
    return f"{provider}/{model}"


def presence_seconds(lease: float) -> int:
    """So long a module is there that says so no more. While it lives, it does so every second."""
    return max(_SHORTEST_PRESENCE, round(lease))


class Names:
    """All of them, for modules and workers that belong together."""

    def __init__(self, fleet: str) -> None:
        self._root = f"{{{fleet}}}"
        self.workers = f"{self._root}:workers"
        self.routes = f"{self._root}:routes"
        self.parked = f"{self._root}:parked"

    def work(self, urgency: str, route: str) -> str:
        return f"{self._root}:work:{urgency}:{route}"

    def to(self, worker: str) -> str:
        return f"{self._root}:to:{worker}"

    def back(self, module: str) -> str:
        return f"{self._root}:back:{module}"

    def worker(self, worker: str) -> str:
        return f"{self._root}:worker:{worker}"

    def module(self, module: str) -> str:
        return f"{self._root}:module:{module}"
