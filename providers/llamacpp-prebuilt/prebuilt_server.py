"""One model in memory, inside llama.cpp's own server, which runs in this process.

That server always listens. It gets a socket file in a folder that nobody else may open, and a key
that nobody knows: no web page can reach it.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator

import xllamacpp
from llamacpp_errors import not_loaded
from llamacpp_template import chosen_template, template_of
from prebuilt_folders import SOCKET, new_folder, remove

EMBEDDED_TOKENS = 2048
_BATCH, _BATCH_ON_CARD = 64, 512
_LOG_SECONDS = 0.5

Take = Callable[[dict[str, Any]], bool]
"""Gets what the server says, and says whether to stop."""


class Server:
    """Made for answers, or for embeddings. `mean` makes these of a model that has none."""

    def __init__(
        self, file: Path, settings: dict[str, Any], embeds: bool = False, mean: bool = False
    ) -> None:
        self.template = chosen_template(settings.get("chat_template", "")) or template_of(file)
        params = _params(file, settings)
        self._folder = new_folder()
        params.hostnames = [str(self._folder / SOCKET)]
        params.api_keys = [secrets.token_urlsafe(32)]
        if embeds:
            _make_it_embed(params, mean)
        try:
            with overheard() as said:
                self._server = xllamacpp.Server(params)
        except Exception:
            self.close()
            raise not_loaded(f"{file.name} cannot be loaded", _why(said())) from None

    def close(self) -> None:
        """It ends when nobody holds it any more."""
        self._server = None
        remove(self._folder)

    def chat(self, body: dict[str, Any], take: Take) -> Any:
        return self._server.handle_chat_completions(body, take)

    def complete(self, body: dict[str, Any], take: Take) -> Any:
        return self._server.handle_completions(body, take)

    def embed(self, body: dict[str, Any]) -> Any:
        return self._server.handle_embeddings(body)


def _params(file: Path, settings: dict[str, Any]) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_ctx = settings["context_length"]
    params.n_gpu_layers = settings["gpu_layers"]
    params.n_batch = params.n_ubatch = settings["batch"] or _usual_batch()
    cores = os.cpu_count() or 2
    params.cpuparams.n_threads = settings["threads"] or max(1, cores // 2)
    params.cpuparams_batch.n_threads = settings["threads"] or cores
    params.chat_template = chosen_template(settings.get("chat_template", ""))
    params.n_parallel = 1
    params.cache_ram_mib = 0
    params.ui = params.endpoint_slots = False
    return params


def _make_it_embed(params: Any, mean: bool) -> None:
    params.embedding = True
    length = params.n_ctx or EMBEDDED_TOKENS
    params.n_batch = params.n_ubatch = min(length, EMBEDDED_TOKENS)
    if mean:
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN


def _usual_batch() -> int:
    cpu = xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU
    devices = xllamacpp.get_device_info()
    return _BATCH if all(each["type"] == cpu for each in devices) else _BATCH_ON_CARD


@contextmanager
def overheard() -> Iterator[Callable[[], str]]:
    """What is written to stderr meanwhile, by whatever library. It is written on afterwards."""
    with tempfile.TemporaryFile() as file:
        kept, text = os.dup(2), ""
        os.dup2(file.fileno(), 2)
        try:
            yield lambda: text
        finally:
            text = _settled(file)
            os.dup2(kept, 2)
            os.close(kept)
            sys.stderr.write(text)


def _settled(file: Any) -> str:
    """A thread of llama.cpp writes it: the last lines come after the failure."""
    text, until = None, time.monotonic() + _LOG_SECONDS
    while True:
        file.seek(0)
        before, text = text, file.read().decode("utf-8", "replace")
        if before == text or time.monotonic() > until:
            return text
        time.sleep(0.02)


def _why(said: str) -> str:
    """Its first errors, each once: what follows are their consequences."""
    lines = [line.partition(" E ") for line in said.splitlines()]
    errors = dict.fromkeys(error.strip() for _, mark, error in lines if mark)
    return " ".join(list(errors)[:2])
