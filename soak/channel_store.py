"""What the store of a module with channels says, read past the module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Select, func, select

from soak.channel_ledger import Person
from soak.history import Violation
from soak.kept import check_file
from waifu_llm.chats.database import Database
from waifu_llm.chats.opening import open_database
from waifu_llm.chats.tables import channel_parcels, channel_people, channel_received, messages
from waifu_llm.chats.transaction import AnyRow, Transaction

_ON_THE_WAY = ("waiting", "sending")


class ChannelStore:
    """Opened for each look, so that a module that was killed leaves its files to the next alone."""

    def __init__(self, store: str, home: Path) -> None:
        self._store = store
        self._home = home

    async def waiting(self) -> int:
        """How much is to be answered, and how much to be brought."""
        received = select(channel_received.c.id).where(channel_received.c.state == "accepted")
        parcels = select(channel_parcels.c.id).where(channel_parcels.c.state.in_(_ON_THE_WAY))
        return sum(map(len, await self._all(received, parcels)))

    async def maybe(self) -> Counter[tuple[str, str]]:
        """To whom there are answers of which nobody knows whether they arrived."""
        sent = select(channel_parcels.c.channel, channel_parcels.c.address)
        said = select(channel_people.c.channel, channel_people.c.address).join(channel_received)
        rows = await self._all(
            sent.where(channel_parcels.c.state == "maybe"),
            said.where(channel_received.c.state == "maybe"),
        )
        return Counter((row.channel, row.address) for each in rows for row in each)

    async def states(self) -> dict[str, int]:
        messages, answers = await self._all(
            *(
                select(table.c.state, func.count()).group_by(table.c.state)
                for table in (channel_received, channel_parcels)
            )
        )
        told = {f"message {state}": count for state, count in messages}
        return {**told, **{f"answer {state}": count for state, count in answers}}

    async def check(self, people: Sequence[Person]) -> None:
        """
        Raises:
            Violation: When it is hurt, a conversation is kept twice, or an answer not at all.
        """
        if "://" not in self._store:
            check_file(self._store)
        (rows,) = await self._all(select(messages.c.role, messages.c.content))
        kept = Counter((row.role, row.content) for row in rows)
        if doubled := [each for each, count in kept.items() if count > 1]:
            raise Violation(f"the store has more than once: {doubled[:5]}")
        heard = {each.text for person in people for each in person.heard}
        if forgotten := heard - {text for role, text in kept if role == "assistant"}:
            raise Violation(f"these were said, and are not kept: {sorted(forgotten)[:5]}")

    async def _all(self, *asked: Select[tuple[object, ...]]) -> list[Sequence[AnyRow]]:
        database = await open_database(self._store, self._home, writes=False)
        try:
            return [await _rows(database, each) for each in asked]
        finally:
            await database.close()


async def _rows(database: Database, asked: Select[tuple[object, ...]]) -> Sequence[AnyRow]:
    return await database.read(lambda connection: Transaction(connection).all(asked))
