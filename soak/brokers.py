"""RabbitMQ and PostgreSQL restart, and the module is killed, while instructions of all types come.

Every client goes on within half a minute; every instruction is done once, or over a WebSocket that
went with the module, at most once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from services.postgres import Postgres
from services.rabbitmq import RabbitMQ
from services.server import Server
from soak.crowd import Crowd
from soak.history import Violation
from soak.life import Life

RECOVERY_SECONDS = 30.0
BETWEEN_SECONDS = 3.0
_LOOK_SECONDS = 0.05


async def restart_over_and_over(home: Path, rounds: int, draw: random.Random) -> None:
    """
    Raises:
        Violation: When an instruction is lost or doubled, or nothing comes through any more.
    """
    for name in ("aiormq", "aio_pika", "waifu_llm", "pika"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # they tell of each try
    with _served() as (rabbitmq, postgres):
        life = Life(home, postgres.database("soak"), rabbitmq, broker_restarts=True)
        await life.start()
        try:
            await _live(life, postgres, rounds, draw)
        finally:
            await life.end()


@contextmanager
def _served() -> Iterator[tuple[RabbitMQ, Postgres]]:
    with tempfile.TemporaryDirectory(prefix="waifu-brokers-") as folder:
        Path(folder).chmod(0o755)
        servers: list[Server] = []
        try:
            servers.append(RabbitMQ(Path(folder) / "rabbitmq"))
            servers.append(Postgres(Path(folder) / "postgres"))
            yield servers[0], servers[1]  # type: ignore[misc]
        finally:
            for server in servers:
                server.close()


async def _live(life: Life, postgres: Postgres, rounds: int, draw: random.Random) -> None:
    crowd = Crowd(life, draw)
    await crowd.open()
    ending = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(crowd.live(ending.is_set))
        for number in range(rounds):
            for what, restart in _trouble(life, postgres):
                await asyncio.sleep(BETWEEN_SECONDS * draw.uniform(0.5, 1.5))
                await restart()
                took = await _recovery(crowd, what)
                told = f"all go on after {took:.1f} s, {crowd.done} done"
                print(f"{number + 1}: {what}, {told}", flush=True)
        ending.set()
    await crowd.close()
    await life.kill_and_start()  # what the last kill left is seen to by the next start
    await life.close()
    crowd.tell()
    await crowd.check()


def _trouble(life: Life, postgres: Postgres) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
    return [
        ("RabbitMQ restarted", lambda: asyncio.to_thread(life.rabbitmq.restart)),
        ("PostgreSQL restarted", lambda: asyncio.to_thread(postgres.restart)),
        ("the module killed", life.kill_and_start),
    ]


async def _recovery(crowd: Crowd, what: str) -> float:
    """Seconds until each client was answered again."""
    begun, before = time.monotonic(), {each: each.done for each in crowd.clients}
    while stuck := [each.owner.name for each in crowd.clients if each.done == before[each]]:
        if time.monotonic() - begun > RECOVERY_SECONDS:
            raise Violation(f"after {what} nothing comes through any more to {stuck}")
        await asyncio.sleep(_LOOK_SECONDS)
    return time.monotonic() - begun
