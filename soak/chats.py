"""Instructions of all types over both doors, while the module is killed: none is lost or doubled.

What was acknowledged is there, once. What was not answered over RabbitMQ is brought again; over the
WebSocket it was done, or was not.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from pathlib import Path

from services.rabbitmq import RabbitMQ
from soak.crowd import KINDS, Crowd
from soak.history import Violation
from soak.life import Life

_LOOK_SECONDS = 0.02
_ENOUGH = 1000
"""Of so many, each type is drawn for certain."""


async def send_instructions(
    home: Path, store: str, instructions: int, kills: int, seed: int
) -> None:
    """
    Raises:
        Violation: When one is lost, doubled, refused or not answered.
    """
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="waifu-broker-") as folder:
        rabbitmq = RabbitMQ(Path(folder) / "rabbitmq")
        try:
            await _send(Life(home, store, rabbitmq), instructions, kills, draw)
        finally:
            rabbitmq.close()


async def _send(life: Life, instructions: int, kills: int, draw: random.Random) -> None:
    await life.start()
    try:
        crowd = Crowd(life, draw)
        await crowd.open()
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(crowd.live(lambda: crowd.done >= instructions))
            group.create_task(_kill(life, crowd, instructions, kills, draw))
        seconds = time.monotonic() - begun
        await crowd.close()
        await life.kill_and_start()  # what the last kill left is seen to by the next start
        await life.close()
    finally:
        await life.end()
    crowd.tell()
    print(f"{crowd.done / seconds:.0f} in a second; killed {kills} times", flush=True)
    await crowd.check()
    if missing := KINDS.keys() - crowd.types.keys():
        told = f"there were none of {sorted(missing)}"
        if instructions >= _ENOUGH:
            raise Violation(told)
        print(told)


async def _kill(
    life: Life, crowd: Crowd, instructions: int, kills: int, draw: random.Random
) -> None:
    """So often, spread over all that is sent."""
    for number in range(kills):
        due = instructions * (number + draw.uniform(0.1, 0.9)) / kills
        while crowd.done < due:
            await asyncio.sleep(_LOOK_SECONDS)
        await asyncio.sleep(draw.uniform(0, 0.05))
        await life.kill_and_start()
