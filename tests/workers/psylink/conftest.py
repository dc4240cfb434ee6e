"""A stage for Psylink's workers, on a Redis that is empty."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from psylink_stage import PlainClient, Stage

from services.redis import Redis


@pytest.fixture
def client(redis: Redis) -> PlainClient:
    client = PlainClient(redis.port)
    client.redis.flushall()
    yield client
    client.redis.close()


@pytest.fixture
async def stage(tmp_path: Path, client: PlainClient, redis: Redis) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path, redis.port)
    yield stage
    await stage.close()
