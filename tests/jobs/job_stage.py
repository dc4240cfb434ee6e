"""Where jobs are tested: an engine over backends that say what a test says, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from support import LIMIT, until

from waifu_llm.backend import Progress, Request, Result, Sink
from waifu_llm.config import Config
from waifu_llm.conversation import Message
from waifu_llm.engine import Engine
from waifu_llm.errors import WaifuError
from waifu_llm.guest import Guest
from waifu_llm.jobs.job import Job
from waifu_llm.jobs.runner import Jobs
from waifu_llm.jobs.shelf import Shelf
from waifu_llm.paths import Paths
from waifu_llm.plugins import Catalogue
from waifu_llm.protocol import Add
from waifu_llm.redaction import Redactor
from waifu_llm.specs import ProviderSpec, Setting
from waifu_llm.stored import Stored

OPEN, SINGLE, KEYED = "open", "single", "keyed"
KEY = "sk-canary-of-the-connection"
PLACES = 2
TALK = [Message("user", "one"), Message("assistant", "two"), Message("user", "three")]


class Turn:
    """A Running: one question to a backend. It is answered by the test."""

    def __init__(self, who: str, settings: Mapping[str, Any], request: Request, sink: Sink) -> None:
        self.who = who
        self.settings = settings
        self.request = request
        self.interrupted = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sink = sink

    @property
    def asked(self) -> str:
        """The last message."""
        return str(self.request.messages[-1].content)

    def say(self, text: str) -> None:
        self._sink.chunk(text)
        self._sink.flush()

    def end(self, text: str = "") -> None:
        if text:
            self.say(text)
        self._sink.done(Result())
        self._sink.flush()
        self.over.set_result(None)

    def fail(self, error: WaifuError) -> None:
        self._sink.failed(error)
        self._sink.flush()
        self.over.set_result(None)

    def interrupt(self) -> None:
        self.interrupted = True
        if not self.over.done():
            self.over.set_result(None)


class Actor:
    """A Backend."""

    alive, ended = True, False

    def __init__(self, stage: Stage, who: str) -> None:
        self._stage = stage
        self._who = who
        self._settings: Mapping[str, Any] = {}

    async def load(self, settings: Mapping[str, Any], model_id: str | None, progress: Progress):
        self._settings = settings
        self._stage.loaded.append((self._who, dict(settings)))
        await self._stage.may_load.wait()
        if self._stage.load_errors:
            raise self._stage.load_errors.pop(0)
        return ["m"]

    async def preload(self, model_id: str) -> None: ...

    async def models(self) -> list[str]:
        return ["m"]

    def generate(self, request: Request, sink: Sink) -> Turn:
        turn = Turn(self._who, self._settings, request, sink)
        self._stage.turns.append(turn)
        return turn

    async def close(self) -> None:
        self.alive = False

    def status(self) -> dict[str, Any]:
        return {}


class Ears:
    """A Listener that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self._changed = asyncio.Event()

    def pending(self, place: int) -> None:
        self._hear(place)

    def running(self, text: str) -> None:
        self._hear(text)

    def done(self) -> None:
        self._hear(None)

    def failed(self, message: str) -> None:
        self._hear(Exception(message))

    def flush(self) -> None: ...

    def _hear(self, what: Any) -> None:
        assert not self.over, f"{what!r} comes after the end"
        self.heard.append(what)
        self._changed.set()

    @property
    def over(self) -> bool:
        return bool(self.heard) and (
            self.heard[-1] is None or isinstance(self.heard[-1], Exception)
        )

    @property
    def text(self) -> str:
        return "".join(each for each in self.heard if isinstance(each, str))

    async def end(self) -> str | None:
        """Why it failed; nothing where it did not."""
        async with asyncio.timeout(LIMIT):
            while not self.over:
                self._changed.clear()
                await self._changed.wait()
        return None if self.heard[-1] is None else str(self.heard[-1])


class Stage:
    """An engine, and the jobs on it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.turns: list[Turn] = []
        self.loaded: list[tuple[str, dict[str, Any]]] = []
        self.load_errors: list[WaifuError] = []
        self.may_load = asyncio.Event()
        self.may_load.set()
        config = Config(**{"cloud_concurrency": PLACES, "idle_seconds": 0.0, **settings})
        stored = Stored(config, Paths(folder, folder), lambda: catalogue().specs)
        self.engine = Engine(config, catalogue, self._open, Redactor(), stored)
        self.shelf = Shelf(folder / "assistants")
        self.jobs = Jobs(self.engine, config, self.shelf)

    async def _open(self, spec: ProviderSpec, settings: Any, progress: Progress) -> Actor:
        return Actor(self, spec.name)

    def prepare(
        self,
        query: str = "q",
        *,
        client: str = "a",
        guest: Guest | None = None,
        assistant: Any = None,
        **more: Any,
    ) -> Job:
        add = Add(id="mine", query=query, assistant=assistant or asks(), **more)
        holdings = (guest or self.engine.enter()).holdings
        return self.jobs.prepare(add, holdings, client)

    async def add(self, *arguments: Any, **options: Any) -> tuple[Job, Ears]:
        """Accepted, and listened to."""
        job = self.prepare(*arguments, **options)
        await self.jobs.accept(job)
        return job, self.listen(job)

    def listen(self, job: Job) -> Ears:
        ears = Ears()
        self.jobs.listen(job, ears)
        return ears

    async def turn(self, number: int = -1, *, of: int | None = None) -> Turn:
        """The last one, or that of this number, once there are so many."""
        await until(lambda: len(self.turns) >= (of or max(1, number + 1)))
        return self.turns[number]


NewStage = Callable[..., Awaitable[Stage]]


async def busy(stage: Stage, places: int = PLACES, **more: Any) -> None:
    """All places are taken, by jobs that say nothing."""
    for _ in range(places):
        await stage.add("busy", client="busy", **more)
    await until(lambda: len(stage.turns) == places)


def asks(*messages: Any, provider: str = OPEN, settings: Any = None, **more: Any) -> dict[str, Any]:
    """An assistant of one stream, which says the query unless it is told otherwise."""
    said = list(messages) or [{"role": "user", "content": "{query}"}]
    return {"streams": [stream(*said, provider=provider, settings=settings, **more)]}


def stream(
    *messages: Any, provider: str = OPEN, settings: Any = None, **more: Any
) -> dict[str, Any]:
    said = [
        {"role": "user", "content": each} if isinstance(each, str) else each for each in messages
    ]
    return {
        "provider": provider,
        "settings": {"model": "m", **(settings or {})},
        "messages": said,
        **more,
    }


def catalogue() -> Catalogue:
    found = Catalogue()
    secret = {
        "api_key": Setting(required=True, secret=True),
        "base_url": Setting(),
        "region": Setting(),
    }
    for name, settings in ((OPEN, {}), (SINGLE, {}), (KEYED, secret)):
        places = 1 if name == SINGLE else None
        spec = ProviderSpec(
            name=name,
            title=name.title(),
            entry="provider:Fake",
            settings=settings,
            concurrency=places,
            kind="cloud",
        )
        found.add(spec, "this test")
    return found
