"""Many instructions wait in the queue before the core is there: taken in order, a few at a time."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aio_pika
import msgspec

from services.rabbitmq import RabbitMQ
from soak.family import start_core
from soak.history import Violation
from soak.meter import Meter
from waifu_llm.client import connect

QUEUE = "instruction_queue"
ANSWERS = "soak.answers"
LOOK_SECONDS = 0.2
WARM = 0.2
"""Of all that waits: what the core takes for it stays."""
ALLOWED_MB = 4.0
SECONDS_EACH = 0.1


async def take_what_waits(home: Path, count: int) -> None:
    rabbitmq = RabbitMQ(home / "rabbitmq")
    try:
        await _fill(rabbitmq.url, count)
        core, url = await start_core(
            home / "home", "--rabbitmq", rabbitmq.url, "--log-level", "error"
        )
        begun = time.monotonic()
        try:
            memory = await _watch(rabbitmq.url, Meter(core.pid), count)
            seconds = time.monotonic() - begun
            titles = await _titles(url, home / "home")
        finally:
            core.kill()
            await core.wait()
    finally:
        rabbitmq.close()
    print(f"{count} in {seconds:.1f} s; memory {memory[0]:.1f} MB, {memory[1]:.1f} MB at the end")
    if titles != [str(number) for number in range(count)]:
        raise Violation("they were not taken each once, in the order in which they came")
    if memory[1] - memory[0] > ALLOWED_MB:
        raise Violation("memory grew with what waited")


async def _fill(url: str, count: int) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        for name in (QUEUE, ANSWERS):
            await channel.declare_queue(name, durable=True)
        for number in range(count):
            body = {"type": "CHAT_CREATE", "data": {"title": str(number)}}
            message = aio_pika.Message(
                msgspec.json.encode(body),
                correlation_id=str(number),
                reply_to=ANSWERS,
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            )
            await channel.default_exchange.publish(message, QUEUE)


async def _watch(url: str, meter: Meter, count: int) -> tuple[float, float]:
    """The most memory that was taken for the first part, and for all of it."""
    readings: list[tuple[int, float]] = []
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        async with asyncio.timeout(60 + count * SECONDS_EACH):
            while not readings or readings[-1][0] < count:
                await asyncio.sleep(LOOK_SECONDS)
                queue = await channel.declare_queue(ANSWERS, passive=True)
                readings.append((queue.declaration_result.message_count, meter.read().memory_mb))
    first = max(
        memory for done, memory in readings if done <= count * WARM or done == readings[0][0]
    )
    return first, max(memory for _, memory in readings)


async def _titles(url: str, home: Path) -> list[str]:
    token = (home / "token").read_text("ascii").strip()
    titles: list[str] = []
    async with connect(url, token=token) as client:
        last: dict[str, Any] = {}
        while part := await client.instructions.chat_list(limit=1000, **last):
            titles += [chat["title"] for chat in part]
            last = {"after": part[-1]["chat_id"]}
    return titles
