"""Loaded things, over a backend that does what a test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from loads_stage import Shop
from support import LIMIT

from waifu_llm.loaded import LoadLimits
from waifu_llm.loads import Loads
from waifu_llm.redaction import Redactor


@pytest.fixture
async def shop() -> Shop:
    return Shop()


@pytest.fixture
def make(shop: Shop) -> Callable[..., Loads]:
    def make(**limits: Any) -> Loads:
        usual = {"cloud_concurrency": 2, "max_waiting": 100, "max_waiting_each": 100}
        times = {"idle_seconds": 3600, "load_seconds": LIMIT, "max_loaded": 64}
        return Loads(shop.open, LoadLimits(**{**usual, **times, **limits}), Redactor())

    return make


@pytest.fixture
def loads(make: Callable[..., Loads]) -> Loads:
    return make()
