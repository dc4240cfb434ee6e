"""An engine over backends that do what a test says, and one client of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support import LIMIT

from waifu_llm.backend import Progress, Request, Result, Sink
from waifu_llm.config import Config
from waifu_llm.conversation import Message, Params
from waifu_llm.engine import Engine
from waifu_llm.errors import OutOfMemory, WaifuError
from waifu_llm.generation import Final, Generation
from waifu_llm.guest import Guest
from waifu_llm.holdings import Asked
from waifu_llm.paths import Paths
from waifu_llm.plugins import Catalogue
from waifu_llm.protocol import Generate
from waifu_llm.redaction import Redactor
from waifu_llm.specs import ProviderSpec, Setting
from waifu_llm.stored import Stored

OPEN, OTHER = "open", "other"  # need no key
KEYED = "keyed"
STORED = "key-in-store"


class Answer:
    """A Running. It says who answers, and ends at once, or once it is told to."""

    def __init__(self, who: str, request: Request, sink: Sink) -> None:
        self.request = request
        self.sink = sink
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.interrupted = False
        sink.chunk(who)
        sink.flush()
        if request.params.model_id != "lasting":
            self.end()

    def end(self) -> None:
        self.sink.done(Result())
        self.sink.flush()
        self.over.set_result(None)

    def interrupt(self) -> None:
        self.interrupted = True
        if not self.over.done():
            self.over.set_result(None)


class FakeBackend:
    """Goes by its key, else by its provider's name."""

    def __init__(self, shop: Shop, who: str) -> None:
        self._shop = shop
        self.who = who
        self.alive = True
        self.ended = False
        self.closed = asyncio.Event()
        self.answers: list[Answer] = []
        self.ready: list[str] = []

    async def load(self, settings: Mapping[str, Any], model_id: str | None, progress: Progress):
        self._shop.loading.append(self.who)
        await self._shop.gate(self.who).wait()
        if error := self._shop.errors.pop(self.who, None):
            raise error
        self.ready += [model_id] if model_id else []
        return [f"{self.who} at first"]

    async def preload(self, model_id: str) -> None:
        self.ready.append(model_id)

    async def models(self) -> list[str]:
        await self._shop.gate(f"models of {self.who}").wait()
        return [f"{self.who} now"]

    def generate(self, request: Request, sink: Sink) -> Answer:
        self.answers.append(Answer(self.who, request, sink))
        return self.answers[-1]

    async def close(self) -> None:
        self.alive = False
        self.closed.set()

    def status(self) -> dict[str, Any]:
        return {}


class Shop:
    """Opens backends, keeps them all, and holds back those that a test wants to load slowly."""

    def __init__(self) -> None:
        self.backends: list[FakeBackend] = []
        self.loading: list[str] = []
        self.errors: dict[str, WaifuError] = {}
        self._gates: dict[str, asyncio.Event] = {}
        self.home = Path("no-such-home")

    async def open(self, spec: ProviderSpec, settings: Mapping[str, Any], progress: Progress):
        self.backends.append(FakeBackend(self, settings.get("api_key", spec.name)))
        return self.backends[-1]

    def gate(self, who: str) -> asyncio.Event:
        if who not in self._gates:
            self._gates[who] = asyncio.Event()
            self._gates[who].set()
        return self._gates[who]

    def hold(self, who: str) -> None:
        self.gate(who).clear()

    def release(self, who: str) -> None:
        self.gate(who).set()

    def backend(self, who: str) -> FakeBackend:
        """The last one that was opened for this key or provider."""
        return [each for each in self.backends if each.who == who][-1]

    def engine(self, stored_key: str | None = None, **settings: Any) -> Engine:
        keys = {KEYED: {"api_key": stored_key}} if stored_key else {}
        config = Config(providers=keys, **settings)
        stored = Stored(config, Paths(self.home, self.home), lambda: catalogue().specs)
        return Engine(config, catalogue, self.open, Redactor(), stored)


def catalogue() -> Catalogue:
    found = Catalogue()
    for name in (OPEN, OTHER, KEYED):
        key = {"api_key": Setting(required=True, secret=True)} if name == KEYED else {}
        title = name.title()
        spec = ProviderSpec(name=name, title=title, entry="provider:Fake", settings=key)
        found.add(spec, "this test")
    return found


class Ear:
    """A Listener that keeps its one final."""

    def __init__(self) -> None:
        self.text = ""
        self._final: asyncio.Future[Final] = asyncio.get_running_loop().create_future()

    def chunk(self, text: str) -> None:
        self.text += text

    def reasoning(self, text: str) -> None: ...

    def flush(self) -> None: ...

    def final(self, final: Final) -> None:
        self._final.set_result(final)  # a second one would raise

    @property
    def waits(self) -> bool:
        return not self._final.done()

    async def heard(self) -> Final:
        async with asyncio.timeout(LIMIT):
            return await self._final

    async def answer(self) -> str:
        """What was answered, or the name of the error."""
        final = await self.heard()
        return final.error.code if final.error else final.response


def ask(
    guest: Guest,
    provider: str | None = None,
    id: str = "g",
    session: str | None = None,
    stream: bool = True,
    message: Message | None = None,
    **params: Any,
) -> Ear:
    asked = Generate(
        unique_request_id=id,
        provider=provider,
        session=session,
        stream=stream,
        messages=[message or Message(role="user", content="hi")],
        params=Params(**{"model_id": "brief", **params}),
    )
    ear = Ear()
    guest.generate(asked, ear)
    return ear


async def ask_lasting(guest: Guest, *arguments: Any, **options: Any) -> Ear:
    """One that speaks, and goes on until it is stopped."""
    ear = ask(guest, *arguments, model_id="lasting", **options)
    await turns()
    assert ear.text
    assert ear.waits
    return ear


def asked(provider: str, key: str | None = None, alias: str | None = None) -> Asked:
    return Asked(provider, {"api_key": key} if key else {}, alias=alias)


async def load(guest: Guest, *arguments: Any, **options: Any) -> None:
    async with asyncio.timeout(LIMIT):
        await guest.holdings.load(asked(*arguments, **options))


async def failed_load(guest: Guest, shop: Shop, provider: str, key: str | None = None) -> None:
    shop.errors[key or provider] = OutOfMemory("It does not fit.")
    with pytest.raises(OutOfMemory):
        await load(guest, provider, key)


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def holders(engine: Engine) -> int:
    return sum(each["holders"] for each in engine.status()["loads"])


def ids(generations: list[Generation]) -> list[str]:
    return [each.id for each in generations]
