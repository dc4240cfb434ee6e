"""An engine, and a client of it."""

from __future__ import annotations

import pytest
from guest_stage import STORED, Shop

from waifu_llm.engine import Engine
from waifu_llm.guest import Guest


@pytest.fixture
async def shop() -> Shop:
    return Shop()


@pytest.fixture
async def engine(shop: Shop) -> Engine:
    return shop.engine()


@pytest.fixture
async def guest(engine: Engine) -> Guest:
    return engine.enter()


@pytest.fixture
async def stored(shop: Shop) -> Engine:
    """An engine whose operator stored a key."""
    return shop.engine(STORED)
