"""Opens the store as the settings name it, with all that works upon it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from waifu_llm.chats import address, providers
from waifu_llm.chats.database import Database
from waifu_llm.chats.instructions import Instructions, Limits
from waifu_llm.chats.job_store import SqlJobStore
from waifu_llm.chats.postgres import PostgreSQL
from waifu_llm.chats.sqlite import SQLite
from waifu_llm.config import Config
from waifu_llm.engine import Engine
from waifu_llm.errors import WaifuError

_SWEEP_SECONDS = 60.0
log = logging.getLogger("waifu_llm.chats")


async def open_database(
    store: str, home: Path, *, writes: bool = True, owns: bool = False
) -> Database:
    """A module `owns` its store: one at a time does. A file has one writer anyway.

    Raises:
        WaifuError: When there is no such store, it is in use, or of a newer program.
    """
    place = address.read(store, home)
    if isinstance(place, Path):
        return await Database.open(SQLite(place, writes=writes))
    return await Database.open(PostgreSQL(place, writes=writes, owns=owns))


class Chats:
    """A store that is open, for one module."""

    def __init__(self, database: Database, engine: Engine, config: Config) -> None:
        self.database = database
        limits = Limits(config.max_history_messages, config.instruction_answers_kept_seconds)
        self.instructions = Instructions(database, engine, limits)
        self.job_store = SqlJobStore(database)
        self._sweeping = asyncio.create_task(self._sweep())

    @classmethod
    async def open(cls, config: Config, home: Path, engine: Engine) -> Chats:
        database = await open_database(config.store, home, owns=True)
        try:
            await providers.drop_left_over(database, engine)
        except WaifuError as error:  # the next time, then
            log.warning("keys that no provider names are not removed yet: %s", error)
        return cls(database, engine, config)

    async def close(self) -> None:
        """After the engine fell silent: what is under way is done, and nothing begins."""
        self._sweeping.cancel()
        await self.instructions.close()
        await self.database.close()

    async def _sweep(self) -> None:
        """For ever: what goes wrong now may go well the next time."""
        while True:
            try:
                await self.instructions.forget_old()
                await self.database.scrub_again()
            except WaifuError as error:
                log.warning("what is old is not removed yet: %s", error)
            except Exception as exc:
                log.error("a fault of the module", exc_info=exc)
            await asyncio.sleep(_SWEEP_SECONDS)
