"""A real module that keeps chats."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from instruction_stage import Dial
from support import Module, Wire
from websockets.asyncio.client import connect

FAKES = Path(__file__).parents[2] / "fake_providers"


@pytest.fixture(scope="module")
def kept_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("kept")
    shutil.copytree(FAKES, home / "providers")
    return home


@pytest.fixture(scope="module")
def keeper(start_module: Callable[..., Module], kept_home: Path) -> Module:
    """A module with a store."""
    return start_module("--store", "sqlite", WAIFU_LLM_HOME=str(kept_home))


@pytest.fixture
def token(keeper: Module, kept_home: Path) -> str:
    return (kept_home / "token").read_text("ascii").strip()


@pytest.fixture
def dial_keeper(keeper: Module, token: str) -> Dial:
    """Connects a client that brings the token."""

    @asynccontextmanager
    async def dial(**headers: str) -> AsyncIterator[Wire]:
        given = headers or {"Authorization": f"Bearer {token}"}
        async with connect(keeper.url, additional_headers=given, compression=None) as websocket:
            yield Wire(websocket)

    return dial
