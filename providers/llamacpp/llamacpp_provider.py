"""Models on this machine, through llama-cpp-python.

Its functions block, so everything runs in threads, one at a time. llama.cpp itself asks while it
computes whether it may go on: so an interrupt also ends the reading of a long prompt.
"""

from __future__ import annotations

import codecs
import threading
from pathlib import Path
from typing import Any, Iterator

from llamacpp_errors import too_long
from llamacpp_files import ModelFiles
from llamacpp_model import Model, Stopped
from llamacpp_prompt import Prompts
from llamacpp_sampling import Sampler
from llamacpp_tools import ToolFilter
from waifu_provider import Embeddings, Finish, Provider, ProviderError, Request


class LlamaCpp(Provider):
    """One model at a time is in memory: the one that was asked last."""

    def load(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._files = ModelFiles(settings)
        self._turn = threading.Lock()
        self._model: Model | None = None
        self._file: Path | None = None

    def models(self) -> list[str]:
        return self._files.names()

    def preload(self, model_id: str) -> None:
        with self._turn:
            self._switch_to(model_id, threading.Event())

    def generate(self, request: Request) -> Iterator[Any]:
        with self._turn:
            try:
                model = self._switch_to(request.model_id, request._interrupted)
                yield from Answer(model, self._prompts, request)
            except Stopped:
                return

    def embed(self, model_id: str, texts: list[str]) -> Embeddings:
        with self._turn:
            model = self._switch_to(model_id, threading.Event())
            read = [_embeddable(model, text) for text in texts]
            return Embeddings([model.embed(each) for each in read], sum(map(len, read)))

    def unload(self) -> None:
        with self._turn:
            self._free()

    def _switch_to(self, model_id: str, stop: threading.Event) -> Model:
        file = self._files.find(model_id)
        if self._model and self._file == file:
            self._model.stop = stop
            return self._model
        self._free()
        model = Model(file, self._settings, self._told_of(file.stem), stop)
        try:
            self._prompts = Prompts(model, self._settings.get("chat_template", ""))
        except BaseException:
            model.close()
            raise
        self._model, self._file = model, file
        return model

    def _told_of(self, name: str) -> Any:
        return lambda done: self.progress(done, f"Loading {name}.")

    def _free(self) -> None:
        if self._model:
            self._model.close()
        self._model = None


class Answer:
    """One answer, token by token."""

    def __init__(self, model: Model, prompts: Prompts, request: Request) -> None:
        self._model = model
        self._request = request
        self._prompt = prompts.tokens(request)
        self._tools = ToolFilter() if request.tools else None
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._count = 0
        room = model.context_length - len(self._prompt)
        self._limit = min(request.max_output_length or room, room)

    def __iter__(self) -> Iterator[Any]:
        sampler = Sampler(self._model.vocabulary, self._request)
        try:
            self._model.read(self._prompt)
            reason = yield from self._spoken(sampler)
        finally:
            sampler.close()
        yield from self._rest(reason)

    def _spoken(self, sampler: Sampler) -> Iterator[str]:
        """What is said; gives why it ended."""
        while True:
            token = self._model.write(sampler.chain)
            self._count += 1
            if self._model.is_end(token):
                return "stop"
            if text := self._text.decode(self._model.bytes_of(token)):
                yield self._tools.feed(text) if self._tools else text
            if self._count >= self._limit:
                return "length"
            self._model.take_up(token)

    def _rest(self, reason: str) -> Iterator[Any]:
        last, calls = self._text.decode(b"", final=True), []
        if self._tools:
            said = self._tools.feed(last)
            calls, held = self._tools.rest()
            last = said + held
        yield last
        yield from calls
        yield Finish("tool_calls" if calls else reason, len(self._prompt), self._count)


def _embeddable(model: Model, text: str) -> list[int]:
    tokens = model.tokens_of(text, with_beginning=True)
    if not tokens:
        raise ProviderError("INVALID_PROMPT", "An empty text has no embedding.")
    if len(tokens) > model.embedded_tokens:
        raise too_long(len(tokens), model.embedded_tokens)
    return tokens
