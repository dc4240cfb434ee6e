"""A store in a PostgreSQL database, by asyncpg (extra `postgres`)."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from waifu_llm.chats import migrating
from waifu_llm.chats.database import Trouble
from waifu_llm.config import ConfigError
from waifu_llm.extras import needed

_CONNECTIONS = 10
_READING = 6
_CONNECT_SECONDS = 10.0
_COMMAND_SECONDS = 60.0
_LOCK = 7_562_001
"""Any number; who migrates holds the advisory lock of it."""
_SERVER_SETTINGS = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
}
_CONFLICTS = ("40001", "40P01", "55P03")
"""Serialization, deadlock, a lock that is not let go."""
_DOWN = ("08", "57P01", "57P02", "57P03", "53300")
"""Connection lost, the server ends, was killed, begins, has too many clients."""
_FULL = ("53100", "53200", "25006")
"""No disk, no memory, read-only."""


class PostgreSQL:
    """One database."""

    doubts_commits = True
    writes_at_once = _CONNECTIONS - _READING
    reads_at_once = _READING

    def __init__(self, url: URL) -> None:
        self.name = f"{url.host}:{url.port}/{url.database}"
        self._url = url
        self.writer = self.reader = _engine(url, _SERVER_SETTINGS, _COMMAND_SECONDS)

    async def open(self) -> None:
        try:
            await self._migrate()
        except TypeError as wrong:  # the driver was given an option that it does not have
            raise ConfigError(f"`store` has an option that cannot be: {wrong}.") from None

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

    async def close(self) -> None:
        await self.writer.dispose()

    def trouble(self, error: Exception) -> Trouble | None:
        """One that breaks a constraint was overtaken: looked at again, it is refused in words."""
        state = next(_states(error), "")
        if isinstance(error, IntegrityError) or state in _CONFLICTS:
            return "conflict"
        if state in _FULL:
            return "full"
        cut_off = isinstance(error, DBAPIError) and error.connection_invalidated
        lost = isinstance(error, OSError | TimeoutError) or cut_off or state.startswith(_DOWN)
        return "lost" if lost or _is_closed(error) else None

    async def scrub(self) -> None:
        """The server vacuums when it sees fit."""


def _engine(url: URL, settings: dict[str, str], seconds: float | None) -> AsyncEngine:
    """
    Raises:
        ConfigError: When the driver is not installed.
    """
    named = {"application_name": "waifu-llm", **settings}
    times = {"timeout": _CONNECT_SECONDS, "command_timeout": seconds}
    with needed("postgres", "A store in PostgreSQL"):
        return create_async_engine(
            url,
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_pre_ping=True,
            hide_parameters=True,  # they are what people wrote to each other
            connect_args={**times, "server_settings": named},
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
