"""One model in memory, through the plain functions of llama.cpp."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator

import llama_cpp as cpp
from llamacpp_errors import not_loaded
from waifu_provider import ProviderError

EMBEDDED_TOKENS = 2048
_ERROR, _WARNING = 4, 3
_ABORTED = 2
_NEVER = cpp.ggml_abort_callback()

_complaints: deque[str] = deque(maxlen=20)


@cpp.llama_log_callback
def _heard(level: int, text: bytes, _: Any) -> None:
    if level in (_WARNING, _ERROR):
        line = text.decode("utf-8", "replace")
        _complaints.append(line.strip())
        sys.stderr.write(line)


cpp.llama_log_set(_heard, None)
cpp.llama_backend_init()


class Stopped(Exception):
    """It was told to stop while it computed."""


class Model:
    """Weights, and what was said so far. One thread at a time.

    `stop` ends what it does at once: loading, reading a prompt, or writing an answer.
    """

    def __init__(
        self,
        file: Path,
        settings: dict[str, Any],
        told: Callable[[float], None],
        stop: threading.Event,
    ) -> None:
        self.stop = stop
        self._settings = settings
        self._stops = cpp.ggml_abort_callback(lambda _: self.stop.is_set())
        self._told = cpp.llama_progress_callback(lambda done, _: self._may_go_on(told, done))
        self._writer = self._embedder = None
        self._read: list[int] = []
        self._piece = ctypes.create_string_buffer(1024)
        self._weights = self._load(file)
        self.vocabulary = cpp.llama_model_get_vocab(self._weights)

    def close(self) -> None:
        for context in filter(None, (self._writer, self._embedder)):
            cpp.llama_free(context)
        self._writer = self._embedder = None
        if self._weights:
            cpp.llama_model_free(self._weights)
        self._weights = None

    # What it is

    @property
    def context_length(self) -> int:
        return int(cpp.llama_n_ctx(self._context()))

    @property
    def template(self) -> str | None:
        template = cpp.llama_model_chat_template(self._weights, None)
        return template.decode("utf-8", "replace") if template else None

    def special(self, number: int) -> str:
        if number < 0:
            return ""
        return cpp.llama_vocab_get_text(self.vocabulary, number).decode("utf-8", "replace")

    # Text and tokens

    def tokens_of(self, text: str, *, with_beginning: bool) -> list[int]:
        raw = text.encode()
        room = len(raw) + 8
        tokens = (cpp.llama_token * room)()
        count = cpp.llama_tokenize(
            self.vocabulary, raw, len(raw), tokens, room, with_beginning, True
        )
        return list(tokens[:count])

    def bytes_of(self, token: int) -> bytes:
        size = len(self._piece)
        written = cpp.llama_token_to_piece(self.vocabulary, token, self._piece, size, 0, False)
        return self._piece.raw[: max(0, written)]

    def is_end(self, token: int) -> bool:
        return bool(cpp.llama_vocab_is_eog(self.vocabulary, token))

    # What it computes

    def read(self, tokens: list[int]) -> None:
        """Go on from what the last prompt has in common with this one.

        Raises:
            Stopped: When it was told to stop.
        """
        context = self._context()
        memory = cpp.llama_get_memory(context)
        kept = min(_common(self._read, tokens), len(tokens) - 1)
        if not cpp.llama_memory_seq_rm(memory, 0, kept, -1):
            cpp.llama_memory_clear(memory, True)
            kept = 0
        self._read = tokens[:kept]
        with self._watched(context):
            for begin in range(kept, len(tokens), self._batch):
                self._decode(context, tokens[begin : begin + self._batch])

    def write(self, sampler: Any) -> int:
        """Choose the next token."""
        return int(cpp.llama_sampler_sample(sampler, self._context(), -1))

    def take_up(self, token: int) -> None:
        """Go on from a token that was chosen."""
        self._decode(self._context(), [token])

    def embed(self, tokens: list[int]) -> list[float]:
        context = self._embedding_context()
        if memory := cpp.llama_get_memory(context):
            cpp.llama_memory_clear(memory, True)
        batch = (cpp.llama_token * len(tokens))(*tokens)
        _see(cpp.llama_decode(context, cpp.llama_batch_get_one(batch, len(tokens))))
        width = cpp.llama_model_n_embd(self._weights)
        return list(cpp.llama_get_embeddings_seq(context, 0)[:width])

    @contextmanager
    def _watched(self, context: Any) -> Iterator[None]:
        """llama.cpp asks after each step whether it may go on: too often, for a single token."""
        cpp.llama_set_abort_callback(context, self._stops, None)
        try:
            yield
        finally:
            cpp.llama_set_abort_callback(context, _NEVER, None)

    @property
    def embedded_tokens(self) -> int:
        return int(cpp.llama_n_ctx(self._embedding_context()))

    def _decode(self, context: Any, tokens: list[int]) -> None:
        batch = (cpp.llama_token * len(tokens))(*tokens)
        _see(cpp.llama_decode(context, cpp.llama_batch_get_one(batch, len(tokens))))
        self._read += tokens

    # How it is made

    def _may_go_on(self, told: Callable[[float], None], done: float) -> bool:
        told(done)
        return not self.stop.is_set()

    @property
    def _batch(self) -> int:
        return max(1, self._settings["batch"])

    def _load(self, file: Path) -> Any:
        params = cpp.llama_model_default_params()
        params.n_gpu_layers = self._settings["gpu_layers"]
        params.progress_callback = self._told
        _complaints.clear()
        weights = cpp.llama_model_load_from_file(os.fsencode(file), params)
        if self.stop.is_set():
            cpp.llama_model_free(weights)
            raise Stopped
        if not weights:
            raise not_loaded(f"{file.name} cannot be loaded", " ".join(_complaints))
        return weights

    def _context(self) -> Any:
        if not self._writer:
            self._writer = self._new_context(self._wanted_context(), self._batch, {})
        return self._writer

    def _embedding_context(self) -> Any:
        """A model that was not made for embeddings gives the mean of its tokens' vectors."""
        if not self._embedder:
            length = min(self._wanted_context(), EMBEDDED_TOKENS)
            more = {"embeddings": True}
            if not self._pools_itself():
                more["pooling_type"] = cpp.LLAMA_POOLING_TYPE_MEAN
            self._embedder = self._new_context(length, length, more)
        return self._embedder

    def _wanted_context(self) -> int:
        trained = cpp.llama_model_n_ctx_train(self._weights)
        wanted = self._settings["context_length"]
        return min(wanted, trained) if wanted > 0 else trained

    def _pools_itself(self) -> bool:
        return self._metadata(f"{self._metadata('general.architecture')}.pooling_type") != ""

    def _metadata(self, key: str) -> str:
        found = ctypes.create_string_buffer(256)
        cpp.llama_model_meta_val_str(self._weights, key.encode(), found, len(found))
        return found.value.decode("utf-8", "replace")

    def _new_context(self, length: int, batch: int, more: dict[str, Any]) -> Any:
        cores = os.cpu_count() or 2
        params = cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = length, batch, batch
        params.n_threads = self._settings["threads"] or max(1, cores // 2)
        params.n_threads_batch = self._settings["threads"] or cores
        for name, value in more.items():
            setattr(params, name, value)
        _complaints.clear()
        context = cpp.llama_init_from_model(self._weights, params)
        if not context:
            raise not_loaded("The model was loaded, but not its context", " ".join(_complaints))
        return context


def _common(before: list[int], now: list[int]) -> int:
    """How many tokens at their beginning are the same."""
    shorter = min(len(before), len(now))
    return next((at for at in range(shorter) if before[at] != now[at]), shorter)


def _see(status: int) -> None:
    if status == _ABORTED:
        raise Stopped
    if status:
        raise ProviderError("UNEXPECTED", f"llama.cpp cannot go on (llama_decode gave {status}).")
