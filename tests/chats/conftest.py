"""Stores of both kinds, and instructions upon them."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from talking_model import Model

from waifu_llm.chats.database import Database
from waifu_llm.chats.instructions import Instructions, Limits
from waifu_llm.chats.opening import open_database

_numbers = itertools.count()

Do = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new store of each kind, as the setting names it."""
    if request.param == "sqlite":
        return str(tmp_path / "home" / "store.db")
    return str(request.getfixturevalue("postgres").database(f"chats{next(_numbers)}"))


@pytest.fixture
async def database(store: str, tmp_path: Path) -> AsyncIterator[Database]:
    database = await open_database(store, tmp_path)
    yield database
    await database.close()


@pytest.fixture
async def model(tmp_path: Path) -> Model:
    return Model(tmp_path / "model home")


@pytest.fixture
async def instructions(database: Database, model: Model) -> AsyncIterator[Instructions]:
    instructions = Instructions(database, model.engine, Limits(max_history_messages=20))
    yield instructions
    await model.engine.silence()
    await instructions.close()
    await model.engine.close()


@pytest.fixture
def do(instructions: Instructions) -> Do:
    """Carries out one instruction: its type, and the fields of its data."""

    async def do(type: str, *, known_as: str | None = None, **data: Any) -> dict[str, Any]:
        return await instructions.carry_out({"type": type, "data": data}, key=known_as)

    return do


@pytest.fixture
async def talk(do: Do) -> dict[str, Any]:
    """John in a chat, and a model that is registered: ids of all."""
    user = await do("USER_CREATE", username="john_doe")
    chat = await do("CHAT_CREATE", title="Sample Chat", usernames=["john_doe"])
    await do(
        "LLM_PROVIDER_ADD", name="vLLM", api_endpoint="http://localhost:12500/v1/chat/completions"
    )
    llm = await do("LLM_ADD", provider_name="vLLM", llm_name="meta-llama/Meta-Llama-3-8B-Instruct")
    return {
        "user_id": user["data"]["user"]["user_id"],
        "chat_id": chat["data"]["chat"]["chat_id"],
        "llm_id": llm["data"]["llm"]["llm_id"],
    }
