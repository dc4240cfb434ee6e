"""`waifu-llm users`: list, show, export, delete"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from waifu_llm.cli.store import (
    change,
    export,
    head_of,
    heads_of_all,
    json_option,
    lines_of,
    run,
    show,
    store_option,
    yes_option,
)

if TYPE_CHECKING:
    from waifu_llm.chats.transaction import Transaction


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
    rows = run(heads_of_all(store, "user"))
    text = "\n".join(f"{row['number']:>6} {row['user_id']} {row['username']}" for row in rows)
    show({"users": rows}, as_json=as_json, text=text or "There are no users.")


@command.command("show", short_help="Show a user.")
@click.argument("user")
@store_option
@json_option
def show_user(user: str, store: str | None, as_json: bool) -> None:
    """Show what is known of a user, and in which chats the user is."""
    told, *more = run(lines_of(store, "user", user))
    chats = [each for each in more if each["type"] == "chat"]
    text = [f"{name}: {value}" for name, value in told.items() if name != "type"]
    text += [f"chat {each['number']} {each['chat_id']} {each['title']}" for each in chats]
    show({"user": told, "chats": chats}, as_json=as_json, text="\n".join(text))


@command.command("export", short_help="Write all that is a user's, as JSON Lines.")
@click.argument("user", required=False)
@store_option
def export_users(user: str | None, store: str | None) -> None:
    """Write all that is a user's as JSON Lines: the user, records, chats, messages and what was
    answered to them. Without a USER, of all users."""
    run(export(store, "user", user))


@command.command("delete", short_help="Delete a user with all that is the user's.")
@click.argument("user")
@store_option
@yes_option
def delete_user(user: str, store: str | None, yes: bool) -> None:
    """Delete a user with records, messages, what was answered to them, and the chats that nobody
    else is in. This cannot be undone."""
    told = run(head_of(store, "user", user))
    name = told["username"]
    if not yes:
        click.confirm(f"Delete `{name}` with all that is the user's?", abort=True)

    async def work(transaction: Transaction) -> None:
        from waifu_llm.chats import users

        found = await users.find_by_word(transaction, told["user_id"])
        await users.delete_all_of(transaction, found)

    run(change(store, f"USER_DELETE of {told['user_id']}", work))
    click.echo(f"`{name}` is deleted.")
