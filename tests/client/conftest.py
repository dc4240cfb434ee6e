"""The Python client, at a real module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from support import Module

from waifu_llm.client import Client, connect


@pytest.fixture
async def llm(module: Module) -> AsyncIterator[Client]:
    async with connect(module.url) as client:
        await client.load("echo")
        yield client
