"""Where the store is: the setting `store`, read."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from waifu_llm.config import ConfigError

FILE_NAME = "store.db"
_POSTGRES = ("postgresql", "postgres", "postgresql+asyncpg")
_SQLITE = ("sqlite", "sqlite+aiosqlite")


def read(store: str, home: Path) -> Path | URL:
    """The file of a SQLite store, or the address of a PostgreSQL database.

    Raises:
        ConfigError: When it is neither. What was written is not shown: it may hold a password.
    """
    if store == "sqlite":
        return home / FILE_NAME
    if "://" not in store:
        return Path(store).expanduser().absolute()
    try:
        url = make_url(store)
    except (ArgumentError, ValueError):
        raise _wrong() from None
    if url.drivername in _SQLITE:
        return Path(url.database).expanduser().absolute() if url.database else home / FILE_NAME
    if url.drivername in _POSTGRES and url.database:
        return _for_asyncpg(url)
    raise _wrong()


def secrets_of(store: str) -> list[str]:
    """The password in it, as it is written and as it is meant."""
    if "://" not in store:
        return []
    try:
        password = make_url(store).password
    except (ArgumentError, ValueError):
        return [store]
    written = store.partition("://")[2].rpartition("@")[0].partition(":")[2]
    return [each for each in (str(password or ""), written) if each]


def _for_asyncpg(url: URL) -> URL:
    """`sslmode` is the word of all other drivers; this one says `ssl`."""
    query = dict(url.query)
    if "sslmode" in query:
        query["ssl"] = query.pop("sslmode")
    return url.set(drivername="postgresql+asyncpg", query=query)


def _wrong() -> ConfigError:
    return ConfigError(
        "`store` should be `sqlite`, the path of a file, sqlite:///PATH or "
        "postgresql://USER:PASSWORD@HOST:PORT/DATABASE."
    )
