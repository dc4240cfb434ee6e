"""The engine: what every door talks to.

A door opens a Guest for each client and calls it: `generate`, `interrupt`, `leave`,
and its `holdings` and `works`. What is everybody's is asked of the Engine: `providers`, `status`,
`close`.
"""

from __future__ import annotations

import asyncio
import os
import platform
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from waifu_llm import system
from waifu_llm.backend import Urgency
from waifu_llm.config import Config
from waifu_llm.generation import silence
from waifu_llm.guest import Guest
from waifu_llm.house import Elsewhere, House, Lending, Waits
from waifu_llm.loaded import LoadLimits, OpenBackend
from waifu_llm.loads import Loads
from waifu_llm.metrics import Metrics
from waifu_llm.plugins import Catalogue
from waifu_llm.redaction import Redactor
from waifu_llm.specs import ProviderSpec
from waifu_llm.stored import Stored
from waifu_llm.version import __version__


class Engine:
    """Everything that is loaded and running."""

    def __init__(
        self,
        config: Config,
        catalogue: Callable[[], Catalogue],
        open_backend: OpenBackend,
        redactor: Redactor,
        stored: Stored,
    ) -> None:
        self.config = config
        self.boot_id = secrets.token_hex(8)
        self._started = time.monotonic()
        self._guests: dict[Guest, None] = {}
        self.metrics = Metrics()
        self._house = House(
            loads=Loads(open_backend, _load_limits(config), redactor, self.metrics),
            catalogue=catalogue,
            stored=stored,
            waits=_waits(config),
            sessions={},
            generations={},
            metrics=self.metrics,
        )

    def enter(self, *, client: bool = True, urgency: Urgency = "live") -> Guest:
        """Somebody came in: a client, or a room of the module that has work of its own."""
        guest = Guest(self._house, urgency)
        if client:
            self._guests[guest] = None
        return guest

    def leave(self, guest: Guest) -> None:
        """Somebody went: what it had running is interrupted, what it held is dropped."""
        self._guests.pop(guest, None)
        guest.leave()

    def providers(self) -> list[str]:
        """The names that can be loaded."""
        return self._house.names()

    def catalogue(self) -> Catalogue:
        return self._house.catalogue()

    def find(self, name: str) -> ProviderSpec:
        """The provider that is meant by its name or by that of a profile.

        Raises:
            InvalidProvider: When there is neither.
        """
        self._house.stored.look()
        return self._house.find(name)[0]

    def free(self, name: str, model_id: str | None) -> None:
        """Who asked for this model needs it no more. What others hold stays for them, and what was
        asked for another model meanwhile stays for that.

        Raises:
            InvalidProvider: When neither a provider nor a profile has this name.
        """
        self._house.stored.look()
        spec, profile = self._house.find(name)
        self._house.loads.free(spec.name, model_id or (profile.model if profile else None))

    def concurrency(self, spec: ProviderSpec) -> int:
        """How many generations at once it takes."""
        here, elsewhere = self._house.loads.concurrency(spec), self._house.elsewhere
        return elsewhere.concurrency(spec, here) if elsewhere else here

    def goes_elsewhere(self, elsewhere: Elsewhere) -> None:
        """From now on this one says what runs in a process of this machine, and what does not."""
        self._house.elsewhere = elsewhere

    def lends(self, lending: Lending) -> None:
        """From now on this one has models call helpers, where that is asked for."""
        self._house.lending = lending

    @property
    def has_helpers(self) -> bool:
        return self._house.lending is not None

    @property
    def closing(self) -> bool:
        return self._house.closing

    @property
    def stored(self) -> Stored:
        """What the operator stored, and keys that are put beside that."""
        return self._house.stored

    def key_home(self, name: str) -> tuple[str, str]:
        """The provider that this name stands for, and the origin that a key for it goes to.

        Raises:
            InvalidProvider: When it stands for none.
        """
        self._house.stored.look()
        spec, profile = self._house.find(name)
        return spec.name, self._house.stored.origin_of(spec, profile)

    def status(self) -> Mapping[str, Any]:
        """What an operator wants to see, and nothing that is a client's secret."""
        return {
            "version": __version__,
            "boot_id": self.boot_id,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "pid": os.getpid(),
            "uptime_seconds": round(time.monotonic() - self._started, 3),
            "memory_bytes": system.resident_bytes(os.getpid()),
            "clients": len(self._guests),
            "generations": len(self._house.generations),
            "waiting": self._house.loads.waiting,
            "loads": self._house.loads.status(),
        }

    async def silence(self) -> None:
        """Before the end: nothing new begins, and everything that runs has its final now."""
        self._house.closing = True
        silence(self._house.generations, "The module is shutting down.")
        self._house.loads.give_up()
        await asyncio.sleep(0)

    async def close(self) -> None:
        """Free all that is loaded."""
        await self._house.loads.close()


def _load_limits(config: Config) -> LoadLimits:
    return LoadLimits(
        cloud_concurrency=config.cloud_concurrency,
        max_waiting=config.max_waiting,
        max_waiting_each=config.max_waiting_per_provider,
        idle_seconds=config.idle_seconds,
        load_seconds=config.load_seconds,
        max_loaded=config.max_loaded,
    )


def _waits(config: Config) -> Waits:
    return Waits(
        first_token_ms=config.first_token_ms,
        local_first_token_ms=config.local_first_token_ms,
        between_tokens_ms=config.between_tokens_ms,
        answer_ms=config.answer_ms,
    )
