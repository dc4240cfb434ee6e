"""What the engine talks to, and what it is answered through: two small protocols.

The engine gives a Backend a request and a Sink. The Backend gives the Sink any number of chunks
and then exactly one `done` or `failed`. Nothing else passes between them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from msgspec import Struct

from waifu_llm.conversation import FinishReason, Message, Params, ToolCall, Usage
from waifu_llm.errors import WaifuError

Urgency = Literal["live", "normal", "low"]
Settings = Mapping[str, Any]
Progress = Callable[[str, float, str], None]
"""Told the phase of a load, how far it is (0 to 1), and a sentence."""


class Request(Struct, frozen=True):
    """One generation as a backend gets it: names are already where the model sees them."""

    messages: list[Message]
    params: Params
    stream: bool
    prompt: str | None = None
    """A text to be continued, in place of messages."""
    urgency: Urgency = "live"
    """How soon it is wanted, where several wait for the same."""
    helpers: bool = False
    """Whether the model may call the module's helpers; done before it comes to a backend."""


class Result(Struct, frozen=True, omit_defaults=True):
    """How a generation ended well, as the backend tells it."""

    finish_reason: FinishReason = "stop"
    usage: Usage | None = None
    tool_calls: list[ToolCall] | None = None


class Embedded(Struct, frozen=True):
    """A vector for each text, in their order."""

    vectors: list[list[float]]
    usage: Usage | None = None


class Sink(Protocol):
    """Takes one generation's answer. Called from the event loop; never waits."""

    def chunk(self, text: str) -> None:
        """Text to be spoken."""

    def reasoning(self, text: str) -> None:
        """What the model thinks and nobody speaks."""

    def done(self, result: Result) -> None:
        """The end, when all went well. Nothing follows."""

    def failed(self, error: WaifuError) -> None:
        """The end, when it did not. Nothing follows."""

    def still_waits(self) -> None:
        """Nothing is done with it yet: what its owner's patience is for begins later."""

    def begins(self) -> None:
        """That was so, and now it is done."""

    def flush(self) -> None:
        """All that has arrived for now was given: pass it on."""


class Running(Protocol):
    """A generation that a backend works on."""

    over: asyncio.Future[None]
    """Set when the backend spends nothing more on it."""

    def interrupt(self) -> None:
        """Stop, the sooner the better. The Sink gets no more calls once its owner ignores it."""


class Backend(Protocol):
    """One loaded thing that can generate: a local process, or a worker far away."""

    async def load(self, settings: Settings, model_id: str | None, progress: Progress) -> list[str]:
        """Make ready, check that the key works, and name the models."""

    async def preload(self, model_id: str) -> None:
        """Get one more model ready to answer at once."""

    async def models(self) -> list[str]:
        """The models that can be asked for now."""

    async def embed(self, model_id: str, texts: list[str]) -> Embedded:
        """Vectors of these texts."""

    async def pull(self, model_id: str, progress: Progress) -> None:
        """Fetch a model."""

    def generate(self, request: Request, sink: Sink) -> Running:
        """Start to answer. Raises nothing: what goes wrong reaches the Sink."""

    async def close(self) -> None:
        """Free everything. What is still running fails first."""

    @property
    def alive(self) -> bool:
        """Whether it can take another request."""

    @property
    def ended(self) -> bool:
        """Whether nothing is left of it: one that takes no more may still have work."""

    def status(self) -> dict[str, Any]:
        """What an operator wants to see."""
