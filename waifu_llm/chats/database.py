"""The database, whichever it is: transactions that are carried out whole, or not at all.

A transaction is a function of a connection. It may be called again: when others changed the same
at the same time, and when the connection was lost. What else it does must bear that.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import ClassVar, Literal, Protocol, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from waifu_llm.errors import Busy, Unavailable, Unexpected
from waifu_llm.tasks import Tasks

CONFLICTS = 5
LOST_SECONDS = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]
Trouble = Literal["conflict", "lost", "slow", "full"]
_AWAY = {
    "lost": "The database does not answer. Try again later.",
    "slow": "The database takes too long. Try again later.",
    "full": "The store cannot be used: {}.",
}
log = logging.getLogger("waifu_llm.chats")


class StoreAway(Unavailable):
    """The database cannot be used now: nothing was done, and the same may go well later.

    `why` is for the log: what the driver says of hosts and files is nothing for clients.
    """

    http_status: ClassVar[int] = 503
    why = ""


class StoreRefuses(Unexpected):
    """The database cannot do what it was asked, and another time it could not either."""


class Kind(Protocol):
    """What differs between SQLite and PostgreSQL."""

    name: str
    """Which store it is; without its password."""
    writer: AsyncEngine
    reader: AsyncEngine
    writes_at_once: int
    reads_at_once: int
    doubts_commits: bool
    """Whether a commit may have happened though it seems to have failed."""

    async def open(self) -> None:
        """Take its lock, and bring it to the schema that is known here."""

    async def close(self) -> None: ...

    async def before_writing(self) -> None:
        """See that the store is still this program's.

        Raises:
            StoreAway: When another one has it now.
        """

    def trouble(self, error: Exception) -> Trouble | None:
        """What went wrong, where another try may do; None for a fault."""

    async def scrub(self) -> bool:
        """Something was deleted: leave no copy of it, where that can be helped. Whether none is
        left; else it can be tried again."""


class Database:
    """One store that is open."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._tasks = Tasks()
        self._closed = False
        self._has_remains = True  # somebody who was killed may have left some
        # Places are given in the order that they were asked for: a pool alone would keep some out.
        self._writing = asyncio.Semaphore(kind.writes_at_once)
        self._reading = asyncio.Semaphore(kind.reads_at_once)

    @classmethod
    async def open(cls, kind: Kind) -> Database:
        """
        Raises:
            WaifuError: When it is in use, out of reach, or of a newer program.
        """
        try:
            await _tried(kind.open, kind)
        except DBAPIError as error:  # no such database, or no such user of it
            await kind.close()
            raise Unavailable(f"The database cannot be used: {_plainly(error)}.") from None
        except BaseException:
            await kind.close()
            raise
        return cls(kind)

    async def close(self) -> None:
        """What has begun is ended first, and nothing begins."""
        self._closed = True
        await self._tasks.over()
        await self._kind.close()

    @property
    def name(self) -> str:
        return self._kind.name

    @property
    def doubts_commits(self) -> bool:
        return self._kind.doubts_commits

    async def write(self, work: Work[T]) -> T:
        """One transaction. Once it has begun it comes to its end, whoever stops waiting for it.

        Raises:
            Busy: When others change the same over and over.
            StoreAway: When the database cannot be used.
            StoreRefuses: When it was asked for what it cannot do.
        """
        return await self._ended(self._kind.writer, self._writing, work, commits=True)

    async def read(self, work: Work[T]) -> T:
        """The same for what changes nothing."""
        return await self._ended(self._kind.reader, self._reading, work, commits=False)

    async def scrub(self) -> None:
        """Let nothing lie about of what was deleted, where that can be helped."""
        self._has_remains = True
        await self.scrub_again()

    async def scrub_again(self) -> None:
        """What could not be removed before, because somebody was reading it."""
        async with self._writing:
            if self._has_remains and not self._closed:
                self._has_remains = not await self._kind.scrub()

    async def _ended(
        self, engine: AsyncEngine, places: asyncio.Semaphore, work: Work[T], *, commits: bool
    ) -> T:
        if self._closed:
            raise StoreAway("The module is shutting down.")

        async def once() -> T:
            async with places:
                if commits:
                    await self._kind.before_writing()
                async with engine.connect() as connection, connection.begin() as transaction:
                    done = await work(connection)
                    if not commits:
                        await transaction.rollback()
                    return done

        return await asyncio.shield(self._tasks.start(self._told(once)))

    async def _told(self, once: Callable[[], Awaitable[T]]) -> T:
        """What goes wrong, in words of our own."""
        try:
            return await _tried(once, self._kind)
        except StoreAway as away:
            log.error("%s", f"{away.message} {away.why}".strip())
            raise
        except DBAPIError as error:
            log.error("the database refuses: %s", _plainly(error))
            raise StoreRefuses(f"The database refuses: {_plainly(error)}.") from None


async def _tried(once: Callable[[], Awaitable[T]], kind: Kind) -> T:
    """Again where that may help, for as long as somebody would wait."""
    conflicts, begun = 0, time.monotonic()
    pause = _FIRST_PAUSE
    while True:
        try:
            return await once()
        except Exception as error:
            trouble = kind.trouble(error)
            conflicts += trouble == "conflict"
            if failure := _given_up(trouble, conflicts, time.monotonic() - begun, error):
                raise failure from None
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(2 * pause, _LONGEST_PAUSE)


def _given_up(
    trouble: Trouble | None, conflicts: int, seconds: float, error: Exception
) -> Exception | None:
    if trouble is None:
        return error
    if trouble == "conflict":
        too_many = Busy("Others change the same at this moment. Try again.", retry_after_ms=1000)
        return too_many if conflicts > CONFLICTS else None
    if trouble == "lost" and seconds <= LOST_SECONDS:
        return None
    away = StoreAway(_AWAY[trouble].format(_plainly(error)))
    away.why = "" if trouble == "full" else f"({_plainly(error)})"
    return away


def _plainly(error: Exception) -> str:
    """What the driver says, without the statement and without the values, which are people's."""
    said = str(getattr(error, "orig", None) or error) or type(error).__name__
    return said.partition("\n")[0].strip().rstrip(".")
