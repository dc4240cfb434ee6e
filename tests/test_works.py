"""Embeddings and pulls of one client: over a loaded thing that does what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support import LIMIT

from waifu_llm.backend import Embedded
from waifu_llm.errors import Interrupted, InvalidModel, NotLoaded, Timeout, Unsupported
from waifu_llm.protocol import Embed, Pull
from waifu_llm.recent import Recent
from waifu_llm.specs import ProviderSpec
from waifu_llm.works import Works


class FakeLoaded:
    """It is its own backend, and waits for `gate` in everything that it does."""

    def __init__(self, *capabilities: Any) -> None:
        self.spec = ProviderSpec(name="fake", title="F", capabilities=frozenset(capabilities))
        self.gate = asyncio.Event()
        self.busy = asyncio.Event()
        self.holders: list[object] = []
        self.places = 0
        self.models_asked = Recent(4)

    def hold(self, holder: object) -> None:
        self.holders.append(holder)

    def drop(self, holder: object) -> None:
        self.holders.remove(holder)

    async def ready(self) -> FakeLoaded:
        return self

    @asynccontextmanager
    async def place(self) -> AsyncIterator[FakeLoaded]:
        self.places += 1
        try:
            yield self
        finally:
            self.places -= 1

    async def embed(self, model_id: str, texts: list[str]) -> Embedded:
        self.busy.set()
        await self.gate.wait()
        if model_id == "unknown":
            raise InvalidModel("There is no such model.")
        return Embedded([[float(len(text))] for text in texts])

    async def pull(self, model_id: str, progress: Any) -> None:
        progress("pull", 0.5, model_id)
        self.busy.set()
        await self.gate.wait()


def embed(id: str | None = "1", model: str = "m", **more: Any) -> Embed:
    return Embed(unique_request_id=id, model_id=model, texts=["a", "bb"], **more)


def pull(id: str | None = "1") -> Pull:
    return Pull(unique_request_id=id, model_id="m")


def works_of(loaded: FakeLoaded, seconds: float = LIMIT) -> Works:
    async def find(name: str | None) -> Any:
        if name == "nobody":
            raise NotLoaded("`nobody` is not loaded.")
        return loaded

    return Works(find, seconds)


async def soon(awaitable: Any) -> Any:
    async with asyncio.timeout(LIMIT):
        return await awaitable


async def test_an_embedding_has_a_place_and_is_held_until_its_end() -> None:
    loaded = FakeLoaded("embeddings")
    work = works_of(loaded).embed(embed())
    await soon(loaded.busy.wait())
    assert (len(loaded.holders), loaded.places) == (1, 1)
    loaded.gate.set()
    assert (await soon(work.result())).vectors == [[1.0], [2.0]]
    assert (loaded.holders, loaded.places) == ([], 0)


async def test_a_pull_takes_no_place_from_answers() -> None:
    loaded, told = FakeLoaded("pull"), []
    work = works_of(loaded).pull(pull(), lambda *step: told.append(step))
    await soon(loaded.busy.wait())
    assert (len(loaded.holders), loaded.places) == (1, 0)
    loaded.gate.set()
    await soon(work.result())
    assert told == [("pull", 0.5, "m")]


async def test_what_is_stopped_says_so_and_holds_nothing() -> None:
    loaded = FakeLoaded("embeddings", "pull")
    works = works_of(loaded)
    one, other = works.embed(embed("1")), works.pull(pull("2"), lambda *_: None)
    await soon(loaded.busy.wait())
    assert works.stop("1") == [one]
    with pytest.raises(Interrupted):
        await soon(one.result())
    assert len(loaded.holders) == 1
    loaded.gate.set()
    await soon(other.result())
    assert works.stop("2") == works.stop("1") == []


async def test_who_leaves_stops_everything() -> None:
    loaded = FakeLoaded("pull")
    works = works_of(loaded)
    work = works.pull(pull(None), lambda *_: None)
    await soon(loaded.busy.wait())
    works.leave()
    with pytest.raises(Interrupted):
        await soon(work.result())
    assert loaded.holders == []


async def test_what_a_provider_does_not_offer_is_refused() -> None:
    works = works_of(FakeLoaded())
    with pytest.raises(Unsupported, match="`fake` does not take `embeddings`"):
        await soon(works.embed(embed()).result())
    with pytest.raises(Unsupported, match="`fake` does not take `pull`"):
        await soon(works.pull(pull(), lambda *_: None).result())


async def test_a_failure_is_who_asked_s() -> None:
    loaded = FakeLoaded("embeddings")
    loaded.gate.set()
    with pytest.raises(InvalidModel):
        await soon(works_of(loaded).embed(embed(model="unknown")).result())
    with pytest.raises(NotLoaded):
        await soon(works_of(loaded).embed(embed(provider="nobody")).result())


async def test_an_embedding_that_never_comes_is_given_up() -> None:
    loaded = FakeLoaded("embeddings")
    with pytest.raises(Timeout, match=r"No embeddings from `fake` in 0\.01 s"):
        await soon(works_of(loaded, 0.01).embed(embed()).result())
    assert (loaded.holders, loaded.places) == ([], 0)
