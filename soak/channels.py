"""People write by SMS and mail while the module is killed: each message is answered once, in order,
by its own answer, and nobody hears anything after a STOP.

Of an answer that Twilio did not take before everybody's eyes, it is said that nobody knows.
"""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

from soak.channel_life import ChannelLife
from soak.channel_people import Mailer, Texter, Writer, write_on
from soak.channel_world import World

TEXTERS, MAILERS, WRITERS = 12, 8, 4
_LOOK_SECONDS = 0.02


async def write_and_kill(home: Path, messages: int, kills: int, draw: random.Random) -> None:
    """
    Raises:
        Violation: When one is lost, doubled, crossed, out of order, or said after a STOP.
    """
    world = World(draw)
    await world.open()
    life = ChannelLife(home, world)

    def is_over() -> bool:
        return world.ledger.count >= messages

    try:
        await life.start()
        await _until_it_reads(world)
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for each in _people(life, world, draw):
                group.create_task(write_on(each.write, each.person, is_over))
            group.create_task(_kill(life, world, messages, kills, draw))
        await _until_all_is_read(world)
        await life.until_quiet()
        seconds = time.monotonic() - begun
        await life.close()
    finally:
        await life.kill()
        await world.close()
    outcomes = world.ledger.check(life.maybe())
    print(f"{world.ledger.count} messages in {seconds:.0f} s; killed {kills} times")
    print(f"what came of them: {dict(outcomes)}; in the store: {life.states()}", flush=True)


def _people(life: ChannelLife, world: World, draw: random.Random) -> list[Texter | Mailer | Writer]:
    def mine() -> random.Random:
        return random.Random(draw.random())

    ledger = world.ledger
    texters = [Texter(life.http, ledger, number, mine()) for number in range(TEXTERS)]
    mailers = [Mailer(life.smtp, ledger, number, mine()) for number in range(MAILERS)]
    writers = [Writer(world.imap, ledger, number, mine()) for number in range(WRITERS)]
    return [*texters, *mailers, *writers]


async def _kill(
    life: ChannelLife, world: World, messages: int, kills: int, draw: random.Random
) -> None:
    """So often, spread over all that is written."""
    for number in range(kills):
        due = messages * (number + draw.uniform(0.1, 0.9)) / kills
        while world.ledger.count < due:
            await asyncio.sleep(_LOOK_SECONDS)
        await asyncio.sleep(draw.uniform(0, 0.1))
        await life.kill_and_start()


async def _until_it_reads(world: World) -> None:
    """What was in the mailbox before is never answered."""
    async with asyncio.timeout(30):
        while not world.imap._idling:
            await asyncio.sleep(_LOOK_SECONDS)


async def _until_all_is_read(world: World) -> None:
    """The mailbox may be looked at a little later."""
    async with asyncio.timeout(60):
        while any(each.waits > 0 for each in world.ledger.of("mailbox")):
            await asyncio.sleep(0.1)
