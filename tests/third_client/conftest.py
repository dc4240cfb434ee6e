"""A client that shares no line with the module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from stdlib_client import Client
from support import Module
from third_client_stage import begin_life, load_echo


@pytest.fixture
async def client(module: Module) -> AsyncIterator[Client]:
    """A client that has said hello and loaded the echo provider."""
    async with await begin_life(module.url) as client:
        await load_echo(client)
        yield client
