"""`waifu-llm users`: list, show, export, delete"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from waifu_llm.cli.store import (
    change,
    json_option,
    line,
    opened,
    run,
    show,
    store_option,
    yes_option,
)
from waifu_llm.cli.terminal import harmless

if TYPE_CHECKING:
    from waifu_llm.chats.database import Database
    from waifu_llm.chats.transaction import AnyRow, Transaction


@click.group("users", short_help="Show, export and delete the users whose chats are kept.")
def command() -> None:
    """Show, export and delete the users whose chats are kept. USER is an id, a number or a name.

    They are read also while a module runs. To delete one, the module must not be running where the
    store is a file.

    \b
    Examples:
      waifu-llm users list
      waifu-llm users export john_doe > john_doe.jsonl
      waifu-llm users delete john_doe
    """


@command.command("list", short_help="List the users.")
@store_option
@json_option
def list_users(store: str | None, as_json: bool) -> None:
    """List the users, by number."""
    rows = run(_all(store))
    text = "\n".join(f"{row['number']:>6} {row['user_id']} {row['username']}" for row in rows)
    show({"users": rows}, as_json=as_json, text=text or "There are no users.")


async def _all(store: str | None) -> list[dict[str, Any]]:
    from waifu_llm.chats import export
    from waifu_llm.chats.users import shape

    async with opened(store) as database:
        return [shape(row) async for row in export.all_users(database)]


@command.command("show", short_help="Show a user.")
@click.argument("user")
@store_option
@json_option
def show_user(user: str, store: str | None, as_json: bool) -> None:
    """Show what is known of a user, and in which chats the user is."""
    lines = run(_lines(store, user, ("user", "chat")))
    told, chats = lines[0], lines[1:]
    text = [f"{name}: {value}" for name, value in told.items() if name != "type"]
    text += [f"chat {each['number']} {each['chat_id']} {each['title']}" for each in chats]
    show({"user": told, "chats": chats}, as_json=as_json, text=harmless("\n".join(text)))


async def _lines(store: str | None, user: str, types: tuple[str, ...]) -> list[dict[str, Any]]:
    from waifu_llm.chats import export

    async with opened(store) as database:
        found = await _find(database, user)
        return [each async for each in export.of_user(database, found) if each["type"] in types]


@command.command("export", short_help="Write all that is a user's, as JSON Lines.")
@click.argument("user", required=False)
@store_option
def export_users(user: str | None, store: str | None) -> None:
    """Write all that is a user's as JSON Lines: the user, records, chats, messages and what was
    answered to them. Without a USER, of all users."""
    run(_export(store, user))


async def _export(store: str | None, user: str | None) -> None:
    from waifu_llm.chats import export

    async with opened(store) as database:
        rows = [await _find(database, user)] if user else []
        if user is None:
            rows = [row async for row in export.all_users(database)]
        for row in rows:
            async for each in export.of_user(database, row):
                line(each)


@command.command("delete", short_help="Delete a user with all that is the user's.")
@click.argument("user")
@store_option
@yes_option
def delete_user(user: str, store: str | None, yes: bool) -> None:
    """Delete a user with records, messages, what was answered to them, and the chats that nobody
    else is in. This cannot be undone."""
    told = run(_lines(store, user, ("user",)))[0]
    name = told["username"]
    if not yes:
        click.confirm(f"Delete `{name}` with all that is the user's?", abort=True)

    async def work(transaction: Transaction) -> None:
        from waifu_llm.chats import users

        found = await users.find_by_word(transaction, told["user_id"])
        await users.delete_all_of(transaction, found)

    run(change(store, f"USER_DELETE of {told['user_id']}", work))
    click.echo(f"`{name}` is deleted.")


async def _find(database: Database, user: str) -> AnyRow:
    from waifu_llm.chats import users
    from waifu_llm.chats.transaction import Transaction

    return await database.read(lambda connection: users.find_by_word(Transaction(connection), user))
