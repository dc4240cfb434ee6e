"""The store, for the commands that look into it: with or without a running module."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from waifu_llm.cli.options import resolved
from waifu_llm.cli.terminal import harmless
from waifu_llm.errors import Busy
from waifu_llm.extras import needed

if TYPE_CHECKING:
    from waifu_llm.chats.database import Database
    from waifu_llm.chats.transaction import Transaction

T = TypeVar("T")
Line = dict[str, Any]

store_option = click.option(
    "--store",
    metavar="STORE",
    help="The store, where the settings name another; <home>/store.db where they name none.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Also names the extra that is missing."""
    with needed("chats", "The store"):
        return asyncio.run(work)


@asynccontextmanager
async def opened(store: str | None, *, writes: bool = False) -> AsyncIterator[Database]:
    """The store. To be read, it may be in use; to be written, a file may not.

    Raises:
        WaifuError: When there is none, or it cannot be used.
    """
    from waifu_llm.chats.opening import open_database

    settings, found = resolved()
    database = await open_database(store or settings.store or "sqlite", found.home, writes=writes)
    try:
        yield database
    finally:
        await database.close()


async def change(
    store: str | None, instruction: str, work: Callable[[Transaction], Awaitable[T]]
) -> T:
    """One transaction, and nothing of what it deleted is left lying.

    Raises:
        Busy: When a module works with the file: says what to send to that one.
    """
    from waifu_llm.chats.transaction import Transaction

    try:
        async with opened(store, writes=True) as database:
            done = await database.write(lambda connection: work(Transaction(connection)))
            await database.scrub()
            return done
    except Busy as error:
        raise Busy(f"{error} Or have that one do it: {instruction}.") from None


# Reading: `subject` is "user" or "chat"


async def lines_of(store: str | None, subject: str, word: str) -> list[Line]:
    """All that is kept of one; what it is itself comes first.

    Raises:
        InvalidMessage: When there is none such.
    """
    from waifu_llm.chats.export import SUBJECTS

    kind = SUBJECTS[subject]
    async with opened(store) as database:
        return [each async for each in kind.lines(database, await kind.find(database, word))]


async def head_of(store: str | None, subject: str, word: str) -> Line:
    """What it is itself, alone."""
    from waifu_llm.chats.export import SUBJECTS

    kind = SUBJECTS[subject]
    async with opened(store) as database:
        return await kind.head(database, await kind.find(database, word))


async def heads_of_all(store: str | None, subject: str) -> list[Line]:
    from waifu_llm.chats.export import SUBJECTS

    kind = SUBJECTS[subject]
    async with opened(store) as database:
        return [await kind.head(database, row) async for row in kind.all(database)]


async def export(store: str | None, subject: str, word: str | None) -> None:
    """Write all that is kept of one, or of all of them, as JSON Lines."""
    from waifu_llm.chats.export import SUBJECTS

    kind = SUBJECTS[subject]
    async with opened(store) as database:
        rows = [await kind.find(database, word)] if word else None
        for row in rows or [row async for row in kind.all(database)]:
            async for each in kind.lines(database, row):
                _write(json.dumps(each, ensure_ascii=False))


# Showing


def show(data: object, *, as_json: bool, text: str) -> None:
    if as_json:
        _write(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        click.echo(harmless(text))


def _write(text: str) -> None:
    """For programs: the same bytes on every system, whatever its terminal is set to."""
    click.echo(f"{text}\n".encode(), nl=False)
