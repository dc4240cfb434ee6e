"""Brings a store to the schema that this program knows.

Who calls this holds the store's lock, so nobody else migrates at the same time. Alembic is
imported only where something is to be done.
"""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from waifu_llm.errors import Unavailable

FOLDER = Path(__file__).parent / "migrations"
VERSION_TABLE = "waifu_llm_schema"
_FILE = re.compile(r"v(\d{4})_\w+\.py")


class WrongStore(Unavailable):
    """A store that this program must not touch: says why."""


def newest() -> str:
    """The version that this program brings a store to."""
    matches = map(_FILE.fullmatch, (each.name for each in (FOLDER / "versions").iterdir()))
    return max(match[1] for match in matches if match)


async def version_of(connection: AsyncConnection) -> str | None:
    """The version that a store has; None where it has no tables of ours yet."""
    if not await connection.run_sync(lambda sync: inspect(sync).has_table(VERSION_TABLE)):
        return None
    statement = text(f"SELECT version_num FROM {VERSION_TABLE}")
    version: str | None = await connection.scalar(statement)
    return version


def refuse_newer(version: str | None) -> None:
    """
    Raises:
        WrongStore: When a newer program made it: what that one keeps there is not known here.
    """
    if version is not None and version > newest():
        raise WrongStore(
            f"The store was made by a newer waifu-llm: its schema is {version}, and this one knows "
            f"those up to {newest()}. Install the newer one, or name another `store`."
        )


def refuse_unknown(version: str | None, place: str) -> None:
    """For who only reads: nothing is made, and nothing is brought to another version.

    Raises:
        Unavailable: When there is no store yet, or it is not as this program knows it.
    """
    if version is None:
        raise Unavailable(f"There is no store {place} yet.")
    refuse_newer(version)
    if version != newest():
        raise WrongStore(
            f"The store {place} was made by an older waifu-llm. `waifu-llm serve` brings it to "
            "what this one knows."
        )


def upgrade(connection: Connection) -> None:
    """All migrations that are due, in the transaction that is open.

    Raises:
        WrongStore: When the database holds tables of somebody else's.
    """
    from alembic import command
    from alembic.config import Config

    _refuse_foreign(connection)
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")


def _refuse_foreign(connection: Connection) -> None:
    from waifu_llm.chats.tables import metadata

    there = inspect(connection)
    if there.has_table(VERSION_TABLE):
        return
    if foreign := sorted(metadata.tables.keys() & set(there.get_table_names())):
        raise WrongStore(
            f"The database has a table `{foreign[0]}` that is not of waifu-llm. Give the module a "
            "database of its own."
        )
