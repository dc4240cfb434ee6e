"""People write by SMS and mail whatever befalls the module: each message is answered once, in
order, by its own answer, and nobody hears anything after a STOP.

Of an answer that Twilio did not take before everybody's eyes, it is said that nobody knows. What a
store that is away could not keep was refused, and came again.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from pathlib import Path

from soak.channel_life import ChannelLife
from soak.channel_outages import Outages
from soak.channel_people import Mailer, Texter, Writer, write_on
from soak.channel_troubles import Plan, Troubles
from soak.channel_world import World
from soak.history import Violation

TEXTERS, MAILERS, WRITERS = 12, 8, 4
_LOOK_SECONDS = 0.02
_READ_SECONDS = 60.0


async def write_in_trouble(home: Path, store: str, plan: Plan, draw: random.Random) -> None:
    """A store that is to go away is a PostgreSQL of its own, in place of the one that is named.

    Raises:
        Violation: When one is lost, doubled, crossed, out of order, or said after a STOP.
    """
    world = World(draw)
    async with AsyncExitStack() as open_things:
        await world.open()
        open_things.push_async_callback(world.close)
        outages = Outages(draw) if plan.outages else None
        if outages:
            await outages.open()
            open_things.push_async_callback(outages.close)
            life = ChannelLife(home, outages.store_of_module, world, outages.store)
        else:
            life = ChannelLife(home, store, world)
        open_things.push_async_callback(life.kill)
        await _live(life, world, plan, Troubles(life, outages, draw), draw)


async def _live(
    life: ChannelLife, world: World, plan: Plan, troubles: Troubles, draw: random.Random
) -> None:
    ledger = world.ledger

    def is_over() -> bool:
        return ledger.count >= plan.messages

    await life.start()
    await _until_it_reads(world)
    begun = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for each in _people(life, world, draw):
            group.create_task(write_on(each.write, each.person, is_over))
        group.create_task(troubles.befall(plan, lambda: ledger.count))
    await _until_all_is_read(world)
    await life.until_quiet()
    seconds = time.monotonic() - begun
    await life.close()
    await _check(life, world, plan)
    print(f"{ledger.count} messages in {seconds:.0f} s; killed {plan.kills} times", end=", ")
    print(f"ended {plan.ends} times, within {troubles.longest_end:.1f} s", end="; ")
    print(f"the store was away {plan.outages} times; not taken: {dict(ledger.refused)}", flush=True)


async def _check(life: ChannelLife, world: World, plan: Plan) -> None:
    maybe = await life.store.maybe()
    outcomes = world.ledger.check(maybe)
    await life.store.check(list(world.ledger.people.values()))
    told = f"what came of them: {dict(outcomes)}; in the store: {await life.store.states()}"
    if maybe.total() > world.twilio.silent and not plan.may_leave_doubts:
        raise Violation(f"of {maybe} nobody knows whether they arrived, for no reason; {told}")
    print(told)


def _people(life: ChannelLife, world: World, draw: random.Random) -> list[Texter | Mailer | Writer]:
    def mine() -> random.Random:
        return random.Random(draw.random())

    ledger = world.ledger
    texters = [Texter(life.http, ledger, number, mine()) for number in range(TEXTERS)]
    mailers = [Mailer(life.smtp, ledger, number, mine()) for number in range(MAILERS)]
    writers = [Writer(world.imap, ledger, number, mine()) for number in range(WRITERS)]
    return [*texters, *mailers, *writers]


async def _until_it_reads(world: World) -> None:
    """What was in the mailbox before is never answered."""
    async with asyncio.timeout(30):
        while not world.imap._idling:
            await asyncio.sleep(_LOOK_SECONDS)


async def _until_all_is_read(world: World) -> None:
    """The mailbox may be looked at a little later.

    Raises:
        Violation: When it is not.
    """
    until = time.monotonic() + _READ_SECONDS
    while waiting := [each.address for each in world.ledger.of("mailbox") if each.waits > 0]:
        if time.monotonic() > until:
            raise Violation(f"what these put into the mailbox is not answered: {waiting}")
        await asyncio.sleep(0.1)
