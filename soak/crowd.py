"""Sixteen clients of one module, half of them over the WebSocket and half over RabbitMQ: each does
one instruction after the other, and knows what must have come of them.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from copy import deepcopy

from soak import answer_deeds, deeds, registry_deeds
from soak.answer_deeds import LLMS, TALKER
from soak.carriers import (
    ANSWER_SECONDS,
    Carrier,
    Lost,
    PlainCarrier,
    QueueCarrier,
    WebSocketCarrier,
)
from soak.deeds import Make
from soak.history import Violation
from soak.kept import EVERYBODY, Store
from soak.ledger import Deed, Ledger, differences
from soak.life import Life
from soak.owner import Owner
from waifu_llm.client import connect

CLIENTS = 16
KINDS: dict[str, tuple[Make, float]] = {
    **deeds.KINDS,
    **answer_deeds.KINDS,
    **registry_deeds.KINDS,
}


class Client:
    """One of them. What it did is written down, and replayed in the end."""

    def __init__(self, owner: Owner, carrier: Carrier, store: Store) -> None:
        self.owner = owner
        self.history: list[Deed] = []
        self.done = 0
        self.lost = Counter[str]()
        self._first = deepcopy(owner.ledger)
        self._carrier = carrier
        self._store = store

    async def open(self) -> None:
        await self._carrier.open()
        self.owner.ids |= (await self._store.of(self.owner.name)).ids

    async def do_one(self) -> Deed:
        """
        Raises:
            Violation: When it is not answered, or not as is due, or is neither done nor not done.
        """
        deed = self._draw()
        try:
            async with asyncio.timeout(ANSWER_SECONDS + 5):  # a thread ends by itself
                status, message, data = await self._carrier.carry(deed)
        except Lost:
            await self._settle(deed)
        except TimeoutError:
            raise Violation(f"{self.owner.name}: no answer came to {deed}") from None
        else:
            deed.check(status, message, data)
            self._note(deed)
            self.owner.learn(data)
        self.done += 1
        return deed

    async def close(self) -> None:
        await self._carrier.close()

    def replayed(self) -> Ledger:
        """What its history comes to."""
        ledger = deepcopy(self._first)
        for deed in self.history:
            ledger.do(deed)
        return ledger

    def _draw(self) -> Deed:
        weights = [weight for _, weight in KINDS.values()]
        while True:
            [(make, _)] = self.owner.draw.choices(list(KINDS.values()), weights)
            if deed := make(self.owner):
                return deed

    def _note(self, deed: Deed) -> None:
        self.history.append(deed)
        self.owner.ledger.do(deed)

    async def _settle(self, deed: Deed) -> None:
        """Nobody says whether it was done: the store does, and it was, or was not."""
        await self._carrier.until_there()
        kept = await self._store.of(self.owner.name)
        after = deepcopy(self.owner.ledger)
        after.do(deed)
        if kept.ledger == after:
            self._note(deed)
            self.lost["done"] += 1
        elif kept.ledger == self.owner.ledger:
            self.lost["not done"] += 1
        else:
            told = differences(kept.ledger, self.owner.ledger)
            raise Violation(f"{deed} was neither done nor left undone: {told}")
        self.owner.ids |= kept.ids


class Crowd:
    """All of them at once."""

    def __init__(self, life: Life, draw: random.Random) -> None:
        self.types = Counter[str]()
        self._life = life
        self.clients = [self._client(number, draw) for number in range(CLIENTS)]

    def _client(self, number: int, draw: random.Random) -> Client:
        mine = random.Random(draw.random())
        return Client(Owner(f"c{number:02}", mine), self._way(number, mine), self._life.store)

    def _way(self, number: int, draw: random.Random) -> Carrier:
        if number % 2 == 0:
            return WebSocketCarrier(self._life.url, self._life.token)
        if number % 4 == 1:
            return QueueCarrier(self._life.rabbitmq.url)
        names_messages = self._life.broker_restarts or number % 8 == 3
        return PlainCarrier(self._life.rabbitmq.url, draw, names_messages=names_messages)

    @property
    def done(self) -> int:
        """How many instructions, in all."""
        return self.types.total()

    async def open(self) -> None:
        await self._furnish()
        for client in self.clients:
            await client.open()

    async def _furnish(self) -> None:
        """What all share, and the first user of each."""
        names = [client.owner.name for client in self.clients]
        async with connect(self._life.url, token=self._life.token) as llm:
            for name in names:
                await llm.instructions.user_create(name)
            await llm.instructions.chat_create(EVERYBODY, usernames=names)
            await llm.instructions.llm_provider_add(TALKER, provider=TALKER)
            for each in LLMS:
                await llm.instructions.llm_add(each, provider_name=TALKER)

    async def live(self, is_over: Callable[[], bool]) -> None:
        """
        Raises:
            Violation: See Client.do_one.
        """

        async def live_one(client: Client) -> None:
            while not is_over():
                deed = await client.do_one()
                self.types[deed.type] += 1

        async with asyncio.TaskGroup() as group:
            for client in self.clients:
                group.create_task(live_one(client))

    async def close(self) -> None:
        for client in self.clients:
            await client.close()

    async def check(self) -> None:
        """What is kept is what was done, of each and in all.

        Raises:
            Violation: With what is not.
        """
        due = [client.replayed() for client in self.clients]
        for client, ledger in zip(self.clients, due, strict=True):
            found = (await self._life.store.of(client.owner.name)).ledger
            if told := differences(found, ledger):
                raise Violation(f"{client.owner.name}: {told}")
        secrets = [each for client in self.clients for each in client.owner.secrets]
        await self._life.store.check(due, secrets)

    def tell(self) -> None:
        lost = sum((client.lost for client in self.clients), Counter[str]())
        kinds = len(self.types)
        print(f"{self.done} instructions of {kinds} types: {dict(sorted(self.types.items()))}")
        print(f"unanswered over the WebSocket: {dict(lost)}", flush=True)
