"""What all guests share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from waifu_llm.backend import Request, Running, Sink
from waifu_llm.conversation import Params
from waifu_llm.generation import Generation, Limits
from waifu_llm.loaded import Loaded
from waifu_llm.loads import Loads, Place
from waifu_llm.metrics import NO_PROVIDER, Metrics
from waifu_llm.plugins import Catalogue
from waifu_llm.profiles import Profile
from waifu_llm.specs import ProviderSpec
from waifu_llm.stored import Stored


class Waits(Struct, frozen=True):
    """The longest waits where a request names none, in milliseconds."""

    first_token_ms: int
    local_first_token_ms: int
    between_tokens_ms: int
    answer_ms: int

    def limits(self, spec: ProviderSpec, params: Params, stream: bool) -> Limits:
        asked = params.timeout_ms
        if not stream:
            whole = (asked or self.answer_ms) / 1000
            return Limits(whole, whole)
        first = self.first_token_ms if spec.kind == "cloud" else self.local_first_token_ms
        return Limits((asked or first) / 1000, (asked or self.between_tokens_ms) / 1000)


class Elsewhere(Protocol):
    """Knows what is not to run in a process of this machine alone."""

    def place(
        self,
        spec: ProviderSpec,
        profile: Profile | None,
        settings: Mapping[str, Any],
        key: str | None,
        here: int,
    ) -> Place | None:
        """Where it is to run that somebody loads with these settings and this stored key. This
        machine takes so many generations of it at once."""

    def concurrency(self, spec: ProviderSpec, here: int) -> int:
        """How many it takes wherever they run."""


Ask = Callable[[Request, Sink, Callable[[Running], None]], Awaitable[None]]
"""Puts one request to the model, at a place of its own, and is over when the model is. Whoever asks
is told what runs, and may interrupt that alone."""


class Lending(Protocol):
    """Knows the helpers that a model may call."""

    async def answer(self, generation: Generation, loaded: Loaded, ask: Ask) -> None:
        """Have the model answer, with their help, until the generation has its end."""


class House(Struct):
    """What all guests share."""

    loads: Loads
    catalogue: Callable[[], Catalogue]
    stored: Stored
    waits: Waits
    sessions: dict[str, dict[Generation, None]]
    generations: dict[Generation, None]
    metrics: Metrics
    elsewhere: Elsewhere | None = None
    lending: Lending | None = None
    closing: bool = False

    def register(self, generation: Generation) -> None:
        self.generations[generation] = None
        if generation.session:
            self.sessions.setdefault(generation.session, {})[generation] = None

    def forget(self, generation: Generation) -> None:
        del self.generations[generation]
        if generation.session:
            others = self.sessions[generation.session]
            del others[generation]
            if not others:
                del self.sessions[generation.session]
        self._count(generation)

    def _count(self, generation: Generation) -> None:
        if final := generation.final:
            figures = self.metrics.of(generation.done_by or NO_PROVIDER)
            how = final.error.code if final.error else final.finish_reason
            figures.ended(how, final.timing.first_token_ms, final.timing.total_ms)
            if final.usage:
                figures.used(final.usage.input_tokens, final.usage.output_tokens)

    def find(self, name: str) -> tuple[ProviderSpec, Profile | None]:
        """The provider of this name, or that of the profile, with it.

        Raises:
            InvalidProvider: When there is neither.
        """
        profile = self.stored.profiles.get(name)
        provider = profile.provider if profile else name
        return self.catalogue().find(provider, self.stored.profiles), profile

    def names(self) -> list[str]:
        """What can be loaded: the providers and the profiles."""
        self.stored.look()
        return sorted({*self.catalogue().specs, *self.stored.profiles})
