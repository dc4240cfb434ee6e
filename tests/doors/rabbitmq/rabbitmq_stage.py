"""What tests of instructions over RabbitMQ share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from services.rabbitmq import RabbitMQ
from soak.proxy import Proxy
from waifu_llm.doors.rabbitmq import RabbitDoor
from waifu_llm.rabbitmq.link import Patience

BRIEF = Patience(confirm=1.0, first_pause=0.05, longest_pause=0.2)
Open = Callable[..., Any]


async def in_thread(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    return await asyncio.to_thread(function, *arguments, **named)


def is_connected(door: RabbitDoor) -> Callable[[], bool]:
    return lambda: door.status()["state"] == "connected"


def answer_to(data: Any) -> Any:
    return {"status": "success", "message": "Done.", "data": data}


@asynccontextmanager
async def behind_proxy(rabbitmq: RabbitMQ) -> AsyncIterator[tuple[Proxy, str]]:
    proxy = Proxy("127.0.0.1", rabbitmq.port)
    await proxy.listen()
    yield proxy, f"amqp://guest:guest@127.0.0.1:{proxy.port}/"
    await proxy.close()
