"""Models on this machine, through xllamacpp, which comes compiled."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, AsyncIterator, Callable

from llamacpp_files import ModelFiles
from llamacpp_messages import as_templates_take, plainer
from llamacpp_template import see_that_it_knows_tools
from prebuilt_events import Events, body_of, error_of, is_of_the_template
from prebuilt_folders import remove_left_ones
from prebuilt_server import Server
from waifu_provider import Embeddings, Provider, ProviderError, Request

_ASKING = "asking llama.cpp"
_LAST_BATCH_SECONDS = 1.5


class Prebuilt(Provider):
    """One model at a time is in memory: the one that was asked last."""

    def load(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._files = ModelFiles(settings)
        self._turn = threading.Lock()
        self._server: Server | None = None
        self._made_for: tuple[Any, ...] = ()
        remove_left_ones()

    def models(self) -> list[str]:
        return self._files.names()

    def preload(self, model_id: str) -> None:
        self._switch_to(model_id)

    async def generate(self, request: Request) -> AsyncIterator[Any]:
        body = body_of(request)
        server = await asyncio.to_thread(self._switch_to, request.model_id)
        if request.tools:
            see_that_it_knows_tools(server.template)
        if request.prompt is not None:
            attempts = [(server.complete, {**body, "prompt": request.prompt})]
        else:
            messages = as_templates_take(request.messages)
            attempts = [(server.chat, {**body, "messages": each(messages)}) for each in _ATTEMPTS]
        async for piece in _first_that_is_taken(attempts):
            yield piece

    def embed(self, model_id: str, texts: list[str]) -> Embeddings:
        """A model that was not made for it gives the mean of its tokens' vectors."""
        body = {"input": texts, "model": model_id}
        answer = self._switch_to(model_id, True).embed(body)
        if "Pooling type 'none'" in str(answer.get("error")):
            answer = self._switch_to(model_id, True, True).embed(body)
        if error := answer.get("error"):
            raise error_of(error)
        count = answer.get("usage", {}).get("prompt_tokens")
        return Embeddings([each["embedding"] for each in answer["data"]], count)

    def unload(self) -> None:
        """Python may not end while llama.cpp is about to call it."""
        for thread in threading.enumerate():
            if thread.name == _ASKING:
                thread.join(_LAST_BATCH_SECONDS)
        with self._turn:
            self._free()

    def _switch_to(self, model_id: str, embeds: bool = False, mean: bool = False) -> Server:
        file = self._files.find(model_id)
        with self._turn:
            if not self._server or not self._serves(file, embeds, mean):
                self._free()
                self.progress(0.0, f"Loading {file.stem}.")
                self._server = Server(file, self._settings, embeds, mean)
                self._made_for = (file, embeds, mean)
                self.progress(1.0, f"{file.stem} is loaded.")
            return self._server

    def _serves(self, file: Any, embeds: bool, mean: bool) -> bool:
        """One that makes means makes them until another model is wanted."""
        return self._made_for in ((file, embeds, mean), (file, embeds, True))

    def _free(self) -> None:
        if self._server:
            self._server.close()
        self._server = None


def _as_they_are(messages: list[Any]) -> list[Any]:
    return messages


_ATTEMPTS = (_as_they_are, plainer)
"""A template may refuse messages that another one takes."""


async def _first_that_is_taken(attempts: list[tuple[Any, dict[str, Any]]]) -> AsyncIterator[Any]:
    *early, last = attempts
    for ask, body in early:
        begun = False
        try:
            async for piece in _answer(ask, body):
                begun = True
                yield piece
            return
        except ProviderError as error:
            if begun or not is_of_the_template(error):
                raise
    async for piece in _answer(*last):
        yield piece


async def _answer(ask: Callable[..., Any], body: dict[str, Any]) -> AsyncIterator[Any]:
    """Once nobody listens any more, the server stops after the batch that it computes."""
    heard, left, events = asyncio.Queue(), threading.Event(), Events()
    tell = asyncio.get_running_loop().call_soon_threadsafe

    def take(event: dict[str, Any]) -> bool:
        tell(heard.put_nowait, event)
        return left.is_set()

    def work() -> None:
        try:
            refusal = ask(body, take)
        except Exception as exc:  # what it cannot make sense of
            refusal = {"error": {"message": str(exc), "type": "invalid_request_error"}}
        tell(heard.put_nowait, refusal if isinstance(refusal, dict) else None)

    threading.Thread(target=work, name=_ASKING, daemon=True).start()
    try:
        while (event := await heard.get()) is not None:
            for piece in events.take(event):
                yield piece
        for piece in events.end():
            yield piece
    finally:
        left.set()
