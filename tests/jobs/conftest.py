"""A stage for jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fake_store import FakeStore
from job_stage import Stage


@pytest.fixture
async def new_stage(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Stage]]]:
    """Opens one with the settings, and on the store, that a test asks for."""
    stages: list[Stage] = []
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))

    async def new(store: FakeStore | None = None, **settings: Any) -> Stage:
        stages.append(Stage(tmp_path, **settings))
        await stages[-1].jobs.open(store)
        return stages[-1]

    yield new
    for stage in stages:
        await stage.jobs.close()
        await stage.engine.close()
    assert faults == []


@pytest.fixture
async def stage(new_stage: Callable[..., Awaitable[Stage]]) -> Stage:
    return await new_stage()
