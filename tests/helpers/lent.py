"""A real engine whose model does what a test says, and the helpers that are lent to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from waifu_llm.backend import Progress, Request, Result, Sink
from waifu_llm.config import Config
from waifu_llm.conversation import Message, Params, ToolCall, Usage
from waifu_llm.engine import Engine
from waifu_llm.errors import WaifuError
from waifu_llm.generation import Final
from waifu_llm.guest import Guest
from waifu_llm.helpers.messages import RegisterHelper
from waifu_llm.helpers.opening import Helpers
from waifu_llm.paths import Paths, bundled_providers
from waifu_llm.plugins import discover
from waifu_llm.protocol import Generate
from waifu_llm.redaction import Redactor
from waifu_llm.stored import Stored

LIMIT = 10.0
ENVIRON = {"SECRET": "hush-hush"}
Turn = str | list[ToolCall] | WaifuError | tuple[str, list[ToolCall] | WaifuError]
"""What the model says in one round, asks for, or fails with; or the one after the other."""
Say = Callable[[Request], Turn]

WEATHER = {
    "name": "weather",
    "description": "The weather of a town.",
    "parameters": {
        "type": "object",
        "properties": {"town": {"type": "string"}},
        "required": ["town"],
        "additionalProperties": False,
    },
}
OSLO = '{"town": "Oslo"}'


def call(name: str, arguments: str = "{}", id: str = "c1") -> ToolCall:
    return ToolCall(id, name, arguments)


class Running:
    """One round, a letter a chunk where it speaks."""

    def __init__(self, model: Model, request: Request, sink: Sink) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.interrupted = False
        self._task = asyncio.create_task(self._run(model, request, sink))

    async def _run(self, model: Model, request: Request, sink: Sink) -> None:
        try:
            await asyncio.sleep(0)
            turn = model.say(request)
            if isinstance(turn, list | WaifuError):
                turn = "", turn
            text, calls = turn if isinstance(turn, tuple) else (turn, [])
            for letter in text:
                sink.chunk(letter)
                sink.flush()
                await asyncio.sleep(0)
            if isinstance(calls, WaifuError):
                sink.failed(calls)
                sink.flush()
                return
            await model.gate.wait()
            reason = "tool_calls" if calls else "stop"
            sink.done(Result(reason, Usage(10, 1), calls or None))
            sink.flush()
        finally:
            self._end()

    def interrupt(self) -> None:
        self.interrupted = True
        self._task.cancel()
        self._end()

    def _end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


class Model:
    """What is said, round for round, and what was asked."""

    alive = True
    ended = False

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.requests: list[Request] = []
        self.rounds: list[Running] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def say(self, request: Request) -> Turn:
        return self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]

    async def load(self, *_: Any) -> list[str]:
        return []

    async def preload(self, model_id: str) -> None: ...

    async def models(self) -> list[str]:
        return []

    def generate(self, request: Request, sink: Sink) -> Running:
        self.requests.append(request)
        self.rounds.append(Running(self, request, sink))
        return self.rounds[-1]

    async def close(self) -> None:
        self.alive = False

    def status(self) -> dict[str, Any]:
        return {}


class Listener:
    """Hears one generation."""

    def __init__(self) -> None:
        self.chunks: list[str] = []
        self.first = asyncio.Event()
        self.over: asyncio.Future[Final] = asyncio.get_running_loop().create_future()

    def chunk(self, text: str) -> None:
        assert not self.over.done()
        self.chunks.append(text)
        self.first.set()

    def reasoning(self, text: str) -> None: ...

    def final(self, final: Final) -> None:
        self.over.set_result(final)

    def flush(self) -> None: ...

    async def final_of(self) -> Final:
        async with asyncio.timeout(LIMIT):
            final = await self.over
        assert "".join(self.chunks) == final.response
        return final


class Stage:
    """The engine, its only model, and the room of helpers. `plain` is a provider without tools,
    that does one thing at a time."""

    def __init__(
        self, home: Path, *, environ: Mapping[str, str] = ENVIRON, **settings: Any
    ) -> None:
        self.model = Model()
        found = discover(bundled_providers(), home / "none")
        plain = msgspec.structs.replace(
            found.specs["echo"], name="plain", capabilities=frozenset(), concurrency=1
        )
        found.specs["plain"] = plain
        self.redactor = Redactor()
        paths = Paths(home, home)
        values = {"helper_seconds": 5.0, "process_provider": "echo", "process_model": "m"}
        config = Config(**{**values, **settings})
        stored = Stored(config, paths, lambda: found.specs)
        self.engine = Engine(config, lambda: found, self._open, self.redactor, stored)
        self.helpers = Helpers(config, paths, self.engine, self.redactor, environ)
        self.helpers.open()
        self.requests = self.helpers.requests

    async def _open(self, spec: Any, settings: Mapping[str, Any], _: Progress) -> Any:
        return self.model

    async def register(
        self, name: str, *capabilities: Any, url: str | None = None, **more: Any
    ) -> Any:
        fields = {"name": name, "capabilities": list(capabilities), "url": url, **more}
        told = msgspec.convert(fields, RegisterHelper)
        return await self.requests.register(told, near=True)

    def begin(
        self, *turns: Turn, provider: str = "echo", stream: bool = True, **params: Any
    ) -> tuple[Guest, Listener]:
        self.model.turns = list(turns)
        guest, listener = self.engine.enter(), Listener()
        asked = Generate(
            unique_request_id="g",
            provider=provider,
            messages=[Message("system", "You are Hilda."), Message("user", "Hi")],
            params=Params(model_id="m", **params),
            stream=stream,
            helpers=True,
        )
        guest.generate(asked, listener)
        return guest, listener

    async def answer(self, *turns: Turn, **more: Any) -> Final:
        guest, listener = self.begin(*turns, **more)
        final = await listener.final_of()
        self.engine.leave(guest)
        return final

    @property
    def told(self) -> list[Message]:
        """What the model was given in the last round."""
        return self.model.requests[-1].messages

    async def close(self) -> None:
        await self.engine.silence()
        await self.helpers.close()
        await self.engine.close()


def read(kind: type, body: str) -> Any:
    return msgspec.json.decode(body, type=kind)


async def until_looked_at(stage: Stage, name: str) -> Any:
    async with asyncio.timeout(LIMIT):
        while True:
            (helper,) = [each for each in stage.helpers.registry.all() if each.name == name]
            if helper.is_well is not None:
                return helper.shown()
            await asyncio.sleep(0.01)


def results(messages: list[Message]) -> Iterator[Any]:
    """What the model was told of its calls, by the call's id."""
    return ((m.tool_call_id, json.loads(m.content or "")) for m in messages if m.role == "tool")
