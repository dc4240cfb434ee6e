"""A model that says what a test wants, behind a real engine."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from waifu_llm.backend import Embedded, Progress, Request, Result, Sink
from waifu_llm.config import Config
from waifu_llm.engine import Engine
from waifu_llm.errors import WaifuError
from waifu_llm.paths import Paths, bundled_providers
from waifu_llm.plugins import Catalogue, discover
from waifu_llm.redaction import Redactor
from waifu_llm.specs import ProviderSpec
from waifu_llm.stored import Stored

Say = Callable[[Request], str | WaifuError | tuple[str, WaifuError]]
"""What the model says, or fails with; or the one after the other."""


def last_word(request: Request) -> str:
    return f"You said: {request.messages[-1].content}"


class Running:
    """One answer, a word a chunk; with `gate` shut it waits before the first."""

    def __init__(self, model: Model, request: Request, sink: Sink) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(model, request, sink))

    async def _run(self, model: Model, request: Request, sink: Sink) -> None:
        model.running += 1
        model.most_running = max(model.most_running, model.running)
        try:
            await model.gate.wait()
            await asyncio.sleep(0)
            said = model.say(request)
            said = ("", said) if isinstance(said, WaifuError) else said
            text, error = said if isinstance(said, tuple) else (said, None)
            for piece in re.findall(r"\S*\s*", text):
                sink.chunk(piece)
            if error:
                sink.failed(error)
            else:
                sink.done(Result())
            sink.flush()
        finally:
            model.running -= 1
            if not self.over.done():
                self.over.set_result(None)

    def interrupt(self) -> None:
        self._task.cancel()
        if not self.over.done():
            self.over.set_result(None)


class Model:
    """The engine, its only backend, and what that was asked."""

    def __init__(self, home: Path) -> None:
        home.mkdir(exist_ok=True)
        self.say: Say = last_word
        self.gate = asyncio.Event()
        self.gate.set()
        self.requests: list[Request] = []
        self.loaded: list[tuple[str, dict[str, Any]]] = []
        self.running = 0
        self.most_running = 0
        self.keys_file = home / "keys.json"
        found = discover(bundled_providers(), home / "none")
        catalogue: Catalogue = found
        config = Config()
        stored = Stored(config, Paths(home, home), lambda: catalogue.specs)
        self.engine = Engine(config, lambda: catalogue, self._open, Redactor(), stored)

    async def _open(self, spec: ProviderSpec, settings: Mapping[str, Any], _: Progress) -> Any:
        self.loaded.append((spec.name, dict(settings)))
        return _Backend(self)


class _Backend:
    alive = True
    ended = False

    def __init__(self, model: Model) -> None:
        self._model = model

    async def load(self, *_: Any) -> list[str]:
        return []

    async def preload(self, model_id: str) -> None: ...

    async def models(self) -> list[str]:
        return []

    async def embed(self, model_id: str, texts: list[str]) -> Embedded:
        raise NotImplementedError

    async def pull(self, model_id: str, progress: Progress) -> None: ...

    def generate(self, request: Request, sink: Sink) -> Running:
        self._model.requests.append(request)
        return Running(self._model, request, sink)

    async def close(self) -> None:
        self.alive = False

    def status(self) -> dict[str, Any]:
        return {}
