"""Instructions over the WebSocket and over RabbitMQ: how many in a second, and at whose cost.

The client is in this process; the module and the broker are processes of their own. A read costs
the store little, so that what is left is the door; a write waits for the disk as well.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.module import Row, running_module
from bench.targets import cpu_seconds
from services.rabbitmq import RabbitMQ
from soak.family import descendants
from waifu_llm import rabbitmq_client
from waifu_llm.client import connect
from waifu_llm.client_instructions import Instructions

IN_FLIGHT = 16
Do = Callable[[Instructions, int], Awaitable[object]]


def measure(home: Path, *, short: bool) -> list[Row]:
    count = 500 if short else 5000
    rabbitmq = RabbitMQ(home / "rabbitmq")
    try:
        with running_module(home, "--rabbitmq", rabbitmq.url) as (url, pid, _):
            token = (home / "token").read_text("ascii").strip()
            bench = _Bench(pid, rabbitmq.pid, count)
            return asyncio.run(bench.run(url, token, rabbitmq.url))
    finally:
        rabbitmq.close()


class _Bench:
    def __init__(self, core: int, broker: int, count: int) -> None:
        self._core = core
        self._broker = broker
        self._count = count

    async def run(self, url: str, token: str, broker: str) -> list[Row]:
        rows: list[Row] = []
        async with connect(url, token=token) as client:
            await client.instructions.user_create("bench")
            for what, do in (("reads", _read), ("writes", _write)):
                rows.append(await self._row(f"{what}, WebSocket", client.instructions, do))
                async with rabbitmq_client.connect(broker) as chats:
                    rows.append(await self._row(f"{what}, RabbitMQ", chats, do))
        return rows

    async def _row(self, what: str, instructions: Instructions, do: Do) -> Row:
        await self._do_all(instructions, do, self._count // 10)
        before, begun = self._spent(), time.perf_counter()
        await self._do_all(instructions, do, self._count)
        seconds = time.perf_counter() - begun
        spent = [now - then for now, then in zip(self._spent(), before, strict=True)]
        core, broker, client = (1e6 * each / self._count for each in spent)
        cost = f"µs CPU each: module {core:.0f}, broker {broker:.0f}, client {client:.0f}"
        figure = f"{self._count / seconds:.0f}/s, {IN_FLIGHT} at a time; {cost}"
        return Row(f"instructions, {what}", figure)

    async def _do_all(self, instructions: Instructions, do: Do, count: int) -> None:
        numbers = iter(range(count))

        async def one_after_the_other() -> None:
            for number in numbers:
                await do(instructions, number)

        await asyncio.gather(*(one_after_the_other() for _ in range(IN_FLIGHT)))

    def _spent(self) -> list[float]:
        broker = [self._broker, *descendants(self._broker)]
        return [
            cpu_seconds(self._core),
            sum(cpu_seconds(each) for each in broker),
            cpu_seconds(os.getpid()),
        ]


async def _read(instructions: Instructions, _: int) -> object:
    return await instructions.user_get(username="bench")


async def _write(instructions: Instructions, number: int) -> object:
    return await instructions.chat_create(f"chat {number}")
