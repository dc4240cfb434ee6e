"""Where Psylink's workers are tested: a real Redis, a plain client of it, and a model that says
what a test says, and when."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import redis
from redis.asyncio import Redis as AsyncRedis
from support import LIMIT, until

from waifu_llm.backend import Progress, Request, Result, Sink
from waifu_llm.config import Config
from waifu_llm.engine import Engine
from waifu_llm.errors import WaifuError
from waifu_llm.paths import Paths
from waifu_llm.plugins import Catalogue
from waifu_llm.redaction import Redactor
from waifu_llm.specs import ProviderSpec
from waifu_llm.stored import Stored
from waifu_llm.workers.psylink.config import ModelChoice, Properties, PsylinkConfig, RedisPlace
from waifu_llm.workers.psylink.worker import PsylinkWorker

WRITER, TALKER = "writer", "talker"
"""Providers: one goes on with a text, one only answers messages."""
PROMPTS, OUTPUTS = "psy_prompt_input_queue", "psy_prompt_output_queue"
COMMANDS, ANSWERS = "psy_command_input_queue", "psy_command_output_queue"
PARKED = f"{PROMPTS}:parked"


class PlainClient:
    """Knows nothing of us: it pushes at the left and pops at the right."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.redis = redis.Redis(port=port)

    def prompt(self, text: str = "Once", **fields: Any) -> dict[str, Any]:
        """What it sends. Each has an id of its own, unless one is given."""
        return {
            "message_id": f"m-{text}",
            "client_id": "c",
            "priority": 3,
            "input": text,
            "timestamp": int(time.time()),
            **fields,
        }

    def push(self, message: Any, queue: str = PROMPTS) -> bytes:
        raw = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.redis.lpush(queue, raw)
        return raw

    def send(self, text: str = "Once", **fields: Any) -> bytes:
        return self.push(self.prompt(text, **fields))

    def order(self, command: str, args: Any = None, worker_id: str = "w", **fields: Any) -> bytes:
        told = {"command": command, "args": args}
        message = {
            "message_id": f"m-{command}",
            "client_id": "c",
            "worker_id": worker_id,
            "input": told,
            "timestamp": int(time.time()),
            **fields,
        }
        return self.push(message, COMMANDS)

    def pop(self, queue: str = OUTPUTS) -> dict[str, Any]:
        _, raw = self.redis.brpop([queue], timeout=LIMIT) or (None, None)
        assert raw is not None, f"nothing came over {queue}"
        return json.loads(raw)

    async def output(self, queue: str = OUTPUTS) -> dict[str, Any]:
        """The same, where the worker is in this process."""
        return await asyncio.to_thread(self.pop, queue)

    async def ask(self, command: str, args: Any = None, **fields: Any) -> dict[str, Any]:
        self.order(command, args, **fields)
        return await self.output(ANSWERS)

    def waiting(self, queue: str = PROMPTS) -> list[bytes]:
        """From the newest to the oldest."""
        return self.redis.lrange(queue, 0, -1)

    def parked(self, queue: str = PROMPTS) -> list[dict[str, Any]]:
        return [json.loads(each) for each in self.waiting(f"{queue}:parked")]

    def names(self) -> set[str]:
        """What is kept. Modules of other tests say in the same Redis that they are there."""
        found = {key.decode() for key in self.redis.scan_iter()}
        return {name for name in found if not name.startswith("{waifu}:")}


class Turn:
    """A Running: one prompt, answered by the test."""

    def __init__(self, request: Request, sink: Sink) -> None:
        self.request = request
        self.interrupted = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sink = sink

    @property
    def text(self) -> str:
        return self.request.prompt or str(self.request.messages[-1].content)

    def end(self, text: str = " upon a time") -> None:
        self._sink.chunk(text)
        self._sink.done(Result())
        self._over()

    def fail(self, error: WaifuError) -> None:
        self._sink.failed(error)
        self._over()

    def interrupt(self) -> None:
        self.interrupted = True
        self._over()

    def _over(self) -> None:
        if not self.over.done():
            self._sink.flush()
            self.over.set_result(None)


class Actor:
    """A Backend."""

    alive, ended = True, False

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def load(self, settings: Mapping[str, Any], model_id: str | None, progress: Progress):
        if self._stage.load_error:
            raise self._stage.load_error
        self._stage.loaded.append((dict(settings), model_id))
        return ["m", "n"]

    async def preload(self, model_id: str) -> None: ...

    async def models(self) -> list[str]:
        return ["m", "n"]

    def generate(self, request: Request, sink: Sink) -> Turn:
        turn = Turn(request, sink)
        self._stage.turns.append(turn)
        return turn

    async def close(self) -> None:
        self.alive = False

    def status(self) -> dict[str, Any]:
        return {}


class Stage:
    """An engine, and the workers on it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.client = PlainClient(port)
        self.turns: list[Turn] = []
        self.loaded: list[tuple[dict[str, Any], str | None]] = []
        self.load_error: WaifuError | None = None
        self.workers: dict[str, asyncio.Task[None]] = {}
        self._port = port
        self._links: list[AsyncRedis] = []
        config = Config(cloud_concurrency=2, idle_seconds=0.0)
        stored = Stored(config, Paths(folder, folder), lambda: catalogue().specs)
        self.engine = Engine(config, catalogue, self._open, Redactor(), stored)

    async def _open(self, spec: ProviderSpec, settings: Any, progress: Progress) -> Actor:
        return Actor(self)

    def link(self) -> AsyncRedis:
        self._links.append(AsyncRedis(port=self._port))
        return self._links[-1]

    async def start(
        self, *, provider: str = WRITER, params: Any = None, **properties: Any
    ) -> PsylinkWorker:
        """A worker that has loaded its model; `w`, unless it is named."""
        worker = self.worker(provider=provider, params=params, **properties)
        loads = len(self.loaded)
        self.workers[worker.worker_id] = asyncio.create_task(worker.run())
        await until(lambda: len(self.loaded) > loads or self.is_over(worker))
        return worker

    def worker(
        self, *, provider: str = WRITER, params: Any = None, **properties: Any
    ) -> PsylinkWorker:
        config = PsylinkConfig(
            redis=RedisPlace(port=self._port),
            model=ModelChoice(provider=provider),
            llama_params=params or {},
            properties=Properties(**{"worker_id": "w", **properties}),
        )
        return PsylinkWorker(self.engine, self.link(), config)

    def is_over(self, worker: PsylinkWorker) -> bool:
        return self.workers[worker.worker_id].done()

    async def stop(self, worker_id: str = "w") -> None:
        task = self.workers.pop(worker_id)
        task.cancel()
        await asyncio.wait([task])

    async def turn(self, number: int = -1, *, of: int | None = None) -> Turn:
        """The last one, or that of this number, once there are so many."""
        await until(lambda: len(self.turns) >= (of or max(1, number + 1)))
        return self.turns[number]

    async def close(self) -> None:
        for worker_id in list(self.workers):
            await self.stop(worker_id)
        await self.engine.close()
        for each in self._links:
            await each.aclose()
        self.client.redis.close()


def catalogue() -> Catalogue:
    found = Catalogue()
    base = ProviderSpec(name=TALKER, title="T", entry="provider:Fake", kind="cloud")
    writer = msgspec.structs.replace(base, name=WRITER, capabilities=frozenset(["prompt"]))
    for spec in (base, writer):
        found.add(spec, "this test")
    return found
