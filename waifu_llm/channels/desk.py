"""What all that works on one channel has in common."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import Any

from waifu_llm.channels.answering import Answer
from waifu_llm.channels.channel import OF_APPLICATION, Channel
from waifu_llm.channels.persona import Limits, Persona
from waifu_llm.channels.store import Store
from waifu_llm.channels.talk import Talk
from waifu_llm.errors import Overloaded
from waifu_llm.turns import Turns

AWAY_SECONDS = 5.0
"""Before another try of what the store could not do."""
log = logging.getLogger("waifu_llm.channels")


class Desk:
    """One channel's: its people in their order, its limits, and what is counted of it."""

    def __init__(
        self,
        channel: Channel,
        persona: Persona,
        limits: Limits,
        store: Store,
        answer: Answer,
        places: asyncio.Semaphore,
    ) -> None:
        self.name = channel.name
        self.channel = channel
        self.persona = persona
        self.limits = limits
        self.store = store
        self.talk = Talk(channel.name, persona, store, answer)
        self.places = places
        """Of all channels together."""
        self.turns = Turns()
        self.counting = asyncio.Lock()
        """The limits are looked at and counted upon by one at a time."""
        self.counts: Counter[str] = Counter()
        self.waiting = 0
        self.is_closing = False
        self.last_trouble: dict[str, Any] = {}

    def trouble(self, what: str) -> None:
        log.warning("channel %s: %s", self.name, what)
        self.last_trouble = {"last_trouble": what, "last_trouble_at": round(time.time(), 3)}

    def allows(self, person: str) -> bool:
        """Nobody but an application says which user writes: a name that somebody chose does not."""
        return not person.startswith(OF_APPLICATION) and self.limits.allows(person)

    def see_that_there_is_room(self) -> None:
        """
        Raises:
            Overloaded: When too many wait already.
        """
        if self.waiting >= self.limits.waiting:
            raise Overloaded(
                f"{self.limits.waiting} messages wait on the channel `{self.name}` already. "
                "Try again later."
            )
