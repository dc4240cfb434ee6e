"""A store in a PostgreSQL database, by asyncpg (extra `postgres`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import URL, NullPool, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from waifu_llm.chats import migrating, ownership
from waifu_llm.chats.database import Trouble
from waifu_llm.chats.ownership import Ownership
from waifu_llm.config import ConfigError
from waifu_llm.extras import needed

_CONNECTIONS = 10
_READING = 6
_CONNECT_SECONDS = 10.0
_COMMAND_SECONDS = 60.0
_LOCK = 7_562_001
"""Any number, but for the one of the module that owns the store; held by who migrates."""
_SERVER_SETTINGS = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
}
_READ_ONLY = {"default_transaction_read_only": "on"}
_POOL = {"pool_size": _CONNECTIONS, "max_overflow": 0, "pool_pre_ping": True}
_ALONE = {"poolclass": NullPool, "isolation_level": "AUTOCOMMIT"}
_TROUBLES: dict[Trouble, tuple[str, ...]] = {
    # Serialization, deadlock, a lock that is not let go.
    "conflict": ("40001", "40P01", "55P03"),
    # The connection is gone, the server ends, begins, or has too many clients, it waited too long.
    "lost": ("08", "40003", "57P", "53300", "25P03", "25P04"),
    # It was ended by its time limit, or by an operator.
    "slow": ("57014",),
    # No disk, no memory, read-only, broken; no such database any more, no right to it.
    "full": ("53", "58", "25006", "XX001", "XX002", "28", "3D", "42501"),
}
"""What a state begins with. The first that fits holds."""


class PostgreSQL:
    """One database. A module `owns` it; with `writes` off it is only looked at."""

    doubts_commits = True
    writes_at_once = _CONNECTIONS - _READING
    reads_at_once = _READING

    def __init__(self, url: URL, *, writes: bool = True, owns: bool = False) -> None:
        self.name = f"{url.host}:{url.port}/{url.database}"
        self._url = url
        self._writes = writes
        settings = _SERVER_SETTINGS if writes else {**_SERVER_SETTINGS, **_READ_ONLY}
        self.writer = self.reader = _engine(url, settings, _COMMAND_SECONDS, **_POOL)
        self._ownership: Ownership | None = None
        if owns:
            self._ownership = Ownership(_engine(url, ownership.SERVER_SETTINGS, None, **_ALONE))

    async def open(self) -> None:
        try:
            if self._ownership:
                await self._ownership.take()
            await (self._migrate() if self._writes else self._see_that_it_is_known())
        except TypeError as wrong:  # the driver was given an option that it does not have
            raise ConfigError(f"`store` has an option that cannot be: {wrong}.") from None

    async def before_writing(self) -> None:
        if self._ownership:
            await self._ownership.be_sure()

    async def _migrate(self) -> None:
        """By a connection that has all the time that it needs."""
        patient = _engine(self._url, {}, None)
        try:
            async with patient.begin() as connection:
                lock = text("SELECT pg_advisory_xact_lock(:lock)")
                await connection.execute(lock, {"lock": _LOCK})
                version = await migrating.version_of(connection)
                migrating.refuse_newer(version)
                if version != migrating.newest():
                    await connection.run_sync(migrating.upgrade)
        finally:
            await patient.dispose()

    async def _see_that_it_is_known(self) -> None:
        async with self.reader.connect() as connection:
            version = await migrating.version_of(connection)
        migrating.refuse_unknown(version, f"in the database {ownership.place(self._url)}")

    async def close(self) -> None:
        await self.writer.dispose()
        if self._ownership:
            await self._ownership.give_back()

    def trouble(self, error: Exception) -> Trouble | None:
        """One that breaks a constraint was overtaken: looked at again, it is refused in words."""
        if isinstance(error, IntegrityError):
            return "conflict"
        state = next(_states(error), "")
        for trouble, states in _TROUBLES.items():
            if state.startswith(states):
                return trouble
        cut_off = isinstance(error, DBAPIError) and error.connection_invalidated
        lost = isinstance(error, OSError | TimeoutError) or cut_off
        return "lost" if lost or _is_closed(error) else None

    async def scrub(self) -> bool:
        """The server vacuums when it sees fit."""
        return True


def _engine(
    url: URL, settings: Mapping[str, str], seconds: float | None, **options: Any
) -> AsyncEngine:
    """
    Raises:
        ConfigError: When the driver is not installed.
    """
    named = {"application_name": "waifu-llm", **settings}
    times = {"timeout": _CONNECT_SECONDS, "command_timeout": seconds}
    with needed("postgres", "A store in PostgreSQL"):
        return create_async_engine(
            url,
            hide_parameters=True,  # they are what people wrote to each other
            connect_args={**times, "server_settings": named},
            **options,
        )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = getattr(error, "orig", None) or error.__cause__


def _states(error: Exception) -> Iterator[str]:
    for each in _causes(error):
        if state := getattr(each, "sqlstate", None):
            yield str(state)


def _is_closed(error: Exception) -> bool:
    """The driver's own word for a connection that went away under it."""
    names = {type(each).__name__ for each in _causes(error)}
    return bool(names & {"ConnectionDoesNotExistError", "InternalClientError", "InterfaceError"})
