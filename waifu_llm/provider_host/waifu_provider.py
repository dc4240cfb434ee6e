"""What the author of a provider imports. Standard library only.

A provider is one class:

    from waifu_provider import Provider

    class Parrot(Provider):
        def models(self):
            return ["parrot"]

        async def generate(self, request):
            for word in request.messages[-1]["content"].split():
                yield word + " "

`generate` may be a plain generator as well, for a library that blocks: it then runs in a thread
of its own and is closed between two pieces when it is interrupted. What it yields is spoken. It
may also yield Reasoning, ToolCall and, last, Finish.

What is `async` must not block: a process that answers nothing for 30 s while it works is hung,
and is killed. What blocks is a plain method, which runs in a thread.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Any, Callable, Coroutine


class ProviderError(Exception):
    """Ends a request with one of the protocol's error codes, such as AUTHORIZATION."""

    def __init__(self, code: str, message: str, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_ms = retry_after_ms


@dataclass(frozen=True)
class Reasoning:
    """A piece of what the model thinks: never spoken."""

    text: str


@dataclass(frozen=True)
class ToolCall:
    """A call that the model asks for; `arguments` is JSON text.

    `signature` is the vendor's: what it wants to see again beside this call comes back with it.
    """

    id: str
    name: str
    arguments: str
    signature: str | None = None


@dataclass(frozen=True)
class Finish:
    """Why the model stopped, and what it counted. Optional; yielded last."""

    reason: str = "stop"
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True)
class Embeddings:
    """What `embed` returns: a vector for each text, in their order."""

    vectors: list[list[float]]
    input_tokens: int | None = None


@dataclass
class Request:
    """One generation. What the client left out is None. There are messages or a prompt."""

    messages: list[dict[str, Any]]
    model_id: str
    stream: bool
    prompt: str | None = None
    character_name: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    penalties: dict[str, float] | None = None
    max_output_length: int | None = None
    stop_tokens: list[str] | None = None
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    reasoning: str | None = None
    """`send` where the client wants to see what the model thinks."""
    extra: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self._interrupted = threading.Event()

    @property
    def interrupted(self) -> bool:
        """For a library that blocks: look at it wherever you can stop."""
        return self._interrupted.is_set()


class Provider:
    """The base of every provider. All but `generate` may be left as it is."""

    dialect: dict[str, Any] = {}
    """The table `dialect` of provider.toml: how one of several vendors speaks, that share code."""

    progress: Callable[[float, str], None] = staticmethod(lambda fraction, message: None)
    """Call it from `load` or `preload` to say how far you are, from 0 to 1."""

    def load(self, settings: dict[str, Any]) -> Any:
        """Make ready. Check that the key works, at no cost. May be `async`."""

    def preload(self, model_id: str) -> Any:
        """Get one model ready to answer at once. May be `async`."""

    def models(self) -> Any:
        """The ids of the models that can be asked for. May be `async`."""
        return []

    def generate(self, request: Request) -> Any:
        """Answer: an async generator, or a plain one."""
        raise ProviderError("UNSUPPORTED", "This provider does not generate text.")

    def embed(self, model_id: str, texts: list[str]) -> Any:
        """Return Embeddings. May be `async`."""
        raise ProviderError("UNSUPPORTED", "This provider makes no embeddings.")

    def pull(self, model_id: str, progress: Callable[[float, str], None]) -> Any:
        """Fetch a model, and say how far that is. May be `async`."""
        raise ProviderError("UNSUPPORTED", "This provider pulls no models.")

    def unload(self) -> Any:
        """Free everything. May be `async`."""

    def run(self, everything: Coroutine[Any, Any, None]) -> None:
        """Run the process to its end: a provider that brings a faster event loop does it there."""
        asyncio.run(everything)
