"""Instructions over a real RabbitMQ. A stand-in carries them out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fake_instructions import FakeInstructions
from plain_client import PlainClient
from rabbitmq_stage import BRIEF, Open

from services.rabbitmq import RabbitMQ
from waifu_llm.config import Config
from waifu_llm.doors.rabbitmq import RabbitDoor
from waifu_llm.rabbitmq.address import read_address


@pytest.fixture
def instructions() -> FakeInstructions:
    return FakeInstructions()


@pytest.fixture
def door(rabbitmq: RabbitMQ, queue: str, instructions: FakeInstructions) -> Open:
    """Opens a door, and closes it."""

    @asynccontextmanager
    async def open(url: str = "", **settings: Any) -> AsyncIterator[RabbitDoor]:
        config = Config(rabbitmq_queue=queue, **settings)
        made = RabbitDoor(instructions, read_address(url or rabbitmq.url, {}), config, BRIEF)
        made.open()
        try:
            yield made
        finally:
            await made.close()

    return open


@pytest.fixture
def plain(rabbitmq: RabbitMQ, queue: str) -> Any:
    with PlainClient(rabbitmq.url, queue) as client:
        yield client
