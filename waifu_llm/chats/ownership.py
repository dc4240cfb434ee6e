"""One module works with a PostgreSQL store: it holds a lock there, by a connection of its own.

Two would take up each other's jobs and instructions. The server lets go of the lock when that
connection ends, and when nothing was heard of its other end for about half a minute. So this side
asks more often than that, and writes nothing while it has no answer. A lock that was lost is taken
again, unless another module has it by then.

A session has such a lock: a pooler that hands sessions around between transactions does not do.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from waifu_llm.chats.database import StoreAway
from waifu_llm.errors import Busy

SERVER_SETTINGS = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
}
"""After 30 s without a sign of this side the server ends the session, and the lock with it."""
_LOCK = 7_562_002
"""Any number, but for the one of those that migrate."""
_TAKE = text("SELECT pg_try_advisory_lock(:lock)").bindparams(lock=_LOCK)
_NEVER_IDLE_TOO_LONG = text(
    "SELECT set_config('idle_session_timeout', '0', false) "
    "WHERE current_setting('idle_session_timeout', true) IS NOT NULL"  # there since version 14
)
_START_SECONDS = 3.0
_LOOK_SECONDS = 0.1
_ASKS_EVERY_SECONDS = 5.0
_ANSWERS_WITHIN_SECONDS = 5.0
_SURE_SECONDS = 15.0

log = logging.getLogger("waifu_llm.chats")


class Ownership:
    """Whether the store is this module's, at this moment."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None
        self._driver: Any = None
        self._sure_until = 0.0
        self._asking: asyncio.Task[bool] | None = None
        self._is_anothers = False
        self._keeping: asyncio.Task[None] | None = None

    async def take(self) -> None:
        """A module that is about to end is waited for a little.

        Raises:
            Busy: When another one keeps it.
        """
        until = time.monotonic() + _START_SECONDS
        while not await self._ask():
            if time.monotonic() > until:
                raise Busy(
                    f"Another module works with the store {place(self._engine.url)}, and only one "
                    "can. Stop that one, or name another database as `store`."
                )
            await asyncio.sleep(_LOOK_SECONDS)
        self._keeping = asyncio.create_task(self._keep())

    async def be_sure(self) -> None:
        """Before anything is written.

        Raises:
            StoreAway: When another module has it.
        """
        if not self._is_sure() and not await self._ask():
            raise StoreAway(
                "Another module works with the store now, or the connection that was lost has not "
                "let go of it yet: nothing is written until it is free again."
            )

    async def give_back(self) -> None:
        tasks = [each for each in (self._keeping, self._asking) if each]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._leave()
        await self._engine.dispose()

    def _is_sure(self) -> bool:
        return self._is_connected() and time.monotonic() < self._sure_until

    def _is_connected(self) -> bool:
        return self._driver is not None and not self._driver.is_closed()

    async def _keep(self) -> None:
        """Ask while nobody writes, too: else another module could have it unnoticed."""
        while True:
            await asyncio.sleep(_ASKS_EVERY_SECONDS)
            try:
                self._tell(await self._ask())
            except Exception as error:  # who is about to write hears of it
                log.info("the store cannot be asked whose it is: %s", type(error).__name__)

    def _tell(self, is_ours: bool) -> None:
        """Once for each change."""
        if not is_ours and not self._is_anothers:
            log.error("another module works with the store now: nothing is written until it ends")
        if is_ours and self._is_anothers:
            log.warning("the store is this module's again")
        self._is_anothers = not is_ours

    async def _ask(self) -> bool:
        """Who asks at the same time gets the same answer: each would wait as long for its own."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._get())
            self._asking.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return await asyncio.shield(self._asking)

    async def _get(self) -> bool:
        """Take it, or see that it is still held: a session may take the same lock many times."""
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN_SECONDS):
                if not self._is_connected():
                    await self._connect()
                asked = time.monotonic()
                assert self._connection
                taken = bool(await self._connection.scalar(_TAKE))
        except BaseException:
            await self._leave()
            raise
        if taken:
            self._sure_until = asked + _SURE_SECONDS
        return taken

    async def _connect(self) -> None:
        await self._leave()
        self._connection = await self._engine.connect()
        self._driver = (await self._connection.get_raw_connection()).driver_connection
        await self._connection.execute(_NEVER_IDLE_TOO_LONG)

    async def _leave(self) -> None:
        """Without waiting for the server, which may be silent."""
        connection, self._connection = self._connection, None
        driver, self._driver = self._driver, None
        if driver:
            driver.terminate()
        if connection:
            await connection.invalidate()
            await connection.close()


def place(url: URL) -> str:
    """The database as it is told to people: never with the password."""
    return f"`{url.database}` at {url.host or 'this machine'}"
