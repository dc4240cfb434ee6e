"""The client: what a program asks of the module."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from msgspec import Struct

from waifu_llm.client.addresses import DEFAULT_URL
from waifu_llm.client.answers import Answer, Stream, read_answer
from waifu_llm.client.connection import Connection, OnProgress
from waifu_llm.client.inbox import Inbox
from waifu_llm.client.instructing import OverWebSocket
from waifu_llm.client.jobs import Jobs
from waifu_llm.client_instructions import Instructions
from waifu_llm.conversation import Message


class Text(Struct, frozen=True):
    """A text that the model is to go on with, in place of a conversation."""

    text: str


Prompt = str | Text | Sequence[Message | Mapping[str, Any]]
"""A question, a text to go on with, or the messages of a conversation."""


class Client:
    """A connection to the module. Make one with `connect`, and use it with `async with`."""

    def __init__(self, url: str, token: str | None, name: str, timeout: float) -> None:
        self._loads: dict[str, dict[str, Any]] = {}
        self.connection = Connection(url, token, name, timeout, self._loads.values)
        """For who speaks of what this client has no method for."""
        self.jobs = Jobs(self.connection)
        self.instructions = Instructions(OverWebSocket(self.connection))
        """Users, chats and LLMs that the module keeps: a method for each instruction."""

    @property
    def info(self) -> dict[str, Any]:
        """What the module said of itself: `version`, `boot_id`, `features`, `limits`."""
        return self.connection.info

    async def __aenter__(self) -> Client:
        """Connect.

        Raises:
            Unavailable: When no module answers.
            Authorization: When it asks for another token, or what was given can be none.
        """
        await self.connection.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.connection.close()

    # What the module can do

    async def load(
        self,
        provider: str,
        *,
        api_key: str | None = None,
        key: str | None = None,
        base_url: str | None = None,
        model: str | None = None,
        settings: Mapping[str, Any] | None = None,
        alias: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Make a provider or a profile ready; it is used from then on unless another is named.

        `key` is the name of a key that the operator stored. `alias` is a name for what is loaded,
        to be used as `provider`. The first load of a provider installs it, which may take a while:
        `on_progress` is told how far it is.

        Raises:
            WaifuError: When it cannot be loaded.
        """
        load = {
            "type": "load",
            "provider": provider,
            "api_key": api_key,
            "key": key,
            "base_url": base_url,
            "preload_model_id": model,
            "settings": settings,
            "as": alias,
            "progress": on_progress is not None,
        }
        await self.connection.ask(load, "load_done", on_progress)
        self._loads.pop(alias or provider, None)  # the last one loaded stands last
        self._loads[alias or provider] = {**load, "progress": False}

    async def unload(self, provider: str | None = None) -> None:
        """Give back what was loaded under this name, else what was loaded last."""
        await self.connection.ask({"type": "unload", "provider": provider}, "unload_done")
        name = provider or next(reversed(self._loads), None)
        self._loads.pop(name or "", None)

    async def providers(self) -> list[str]:
        """The names that can be loaded."""
        done = await self.connection.ask({"type": "get_providers"}, "get_providers_done")
        return list(done["providers"])

    async def models(self, provider: str | None = None) -> list[str]:
        """The models of a loaded provider."""
        done = await self.connection.ask(
            {"type": "get_models", "provider": provider}, "get_models_done"
        )
        return list(done["models"])

    async def embed(
        self, texts: Sequence[str], *, model: str, provider: str | None = None
    ) -> list[list[float]]:
        """A vector for each text, in their order.

        Raises:
            Unsupported: When the provider makes none.
        """
        embed = {"type": "embed", "provider": provider, "model_id": model, "texts": texts}
        done = await self.connection.ask(embed, "embed_done")
        return list(done["embeddings"])

    async def pull(
        self, model: str, *, provider: str | None = None, on_progress: OnProgress | None = None
    ) -> None:
        """Have a provider fetch a model. Cancel this, and it stops.

        Raises:
            WaifuError: When it cannot be had.
        """
        progress = on_progress is not None
        pull = {"type": "pull", "unique_request_id": self.connection.new_id(), "provider": provider}
        try:
            await self.connection.ask(
                {**pull, "model_id": model, "progress": progress}, "pull_done", on_progress
            )
        except asyncio.CancelledError:
            self.connection.send({"type": "interrupt", "target": pull["unique_request_id"]})
            raise

    async def status(self) -> dict[str, Any]:
        """What is loaded, running and waiting."""
        return await self.connection.ask({"type": "status"}, "status_done")

    async def interrupt(
        self, target: str | None = None, *, session: str | None = None
    ) -> list[str]:
        """Silence one generation, or those of a session, or all of this client's.

        Returns the ids of what was stopped. No text of theirs comes after this returned.
        """
        message = {"type": "interrupt", "target": target, "session": session}
        ack = await self.connection.ask(message, "interrupt_ack")
        return list(ack["interrupted"])

    async def close_module(self) -> None:
        """Shut the module down, for everyone."""
        await self.connection.ask({"type": "close"}, "close_ack")

    async def generate(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        provider: str | None = None,
        session: str | None = None,
        **params: Any,
    ) -> Answer:
        """The whole answer at once. `params` are those of the protocol, such as `temperature`;
        `model` may be left out where a profile names one.

        Raises:
            WaifuError: When it fails. An interrupted answer is returned, not raised.
        """
        message = self._generate(prompt, model, provider, session, params, stream=False)
        try:
            return read_answer(await self.connection.ask(message, "generate_done"))
        except asyncio.CancelledError:
            self.connection.send({"type": "interrupt", "target": message["unique_request_id"]})
            raise

    def stream(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        provider: str | None = None,
        session: str | None = None,
        **params: Any,
    ) -> Stream:
        """The answer while it comes; see Stream. `params` are those of the protocol."""
        message = self._generate(prompt, model, provider, session, params, stream=True)
        id = message["unique_request_id"]
        inbox = Inbox()
        self.connection.send(message, inbox)
        return Stream(self.connection, id, inbox)

    # Messages

    def _generate(
        self,
        prompt: Prompt,
        model: str | None,
        provider: str | None,
        session: str | None,
        params: Mapping[str, Any],
        *,
        stream: bool,
    ) -> dict[str, Any]:
        return {
            "type": "generate",
            "unique_request_id": self.connection.new_id(),
            "provider": provider,
            "session": session,
            **_asked(prompt),
            "params": {"model_id": model, **params},
            "stream": stream,
        }


def connect(
    url: str = DEFAULT_URL,
    *,
    token: str | None = None,
    name: str = "python",
    timeout: float = 10.0,
) -> Client:
    """A client for the module at `url`, to be used with `async with`.

    A native client on the module's own machine needs no token. `timeout` is how long a request
    waits for a connection, in seconds.
    """
    return Client(url, token, name, timeout)


def _asked(prompt: Prompt) -> dict[str, Any]:
    if isinstance(prompt, Text):
        return {"prompt": prompt.text}
    return {
        "messages": [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    }
