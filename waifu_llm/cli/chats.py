"""`waifu-llm chats`: list, show, export, delete"""

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


@click.group("chats", short_help="Show, export and delete the chats that are kept.")
def command() -> None:
    """Show, export and delete the chats that are kept. CHAT is an id or a number.

    They are read also while a module runs. To delete one, the module must not be running where the
    store is a file.

    \b
    Examples:
      waifu-llm chats list
      waifu-llm chats show 7
      waifu-llm chats export > chats.jsonl
    """


@command.command("list", short_help="List the chats.")
@store_option
@json_option
def list_chats(store: str | None, as_json: bool) -> None:
    """List the chats, by number."""
    rows = run(_all(store))
    text = "\n".join(
        harmless(f"{row['number']:>6} {row['chat_id']} {row['title']}") for row in rows
    )
    show({"chats": rows}, as_json=as_json, text=text or "There are no chats.")


async def _all(store: str | None) -> list[dict[str, Any]]:
    from waifu_llm.chats import export

    async with opened(store) as database:
        found = [row async for row in export.all_chats(database)]
        return [await export.chat_line(database, row) for row in found]


@command.command("show", short_help="Show what was said in a chat.")
@click.argument("chat")
@store_option
@json_option
def show_chat(chat: str, store: str | None, as_json: bool) -> None:
    """Show who is in a chat, and what was said in it."""
    told, *messages = run(_lines(store, chat))
    who = ", ".join(each["username"] for each in told["users"]) or "nobody"
    text = [f"{told['title']} ({told['chat_id']}), {who}"]
    text += [f"{each.get('username') or each['role']}: {each['content']}" for each in messages]
    show({"chat": told, "messages": messages}, as_json=as_json, text=harmless("\n".join(text)))


async def _lines(store: str | None, chat: str) -> list[dict[str, Any]]:
    from waifu_llm.chats import export

    async with opened(store) as database:
        return [each async for each in export.of_chat(database, await _find(database, chat))]


@command.command("export", short_help="Write chats as JSON Lines.")
@click.argument("chat", required=False)
@store_option
def export_chats(chat: str | None, store: str | None) -> None:
    """Write a chat and what was said in it as JSON Lines. Without a CHAT, all of them."""
    run(_export(store, chat))


async def _export(store: str | None, chat: str | None) -> None:
    from waifu_llm.chats import export

    async with opened(store) as database:
        rows = [await _find(database, chat)] if chat else []
        if chat is None:
            rows = [row async for row in export.all_chats(database)]
        for row in rows:
            async for each in export.of_chat(database, row):
                line(each)


@command.command("delete", short_help="Delete a chat with all that was said in it.")
@click.argument("chat")
@store_option
@yes_option
def delete_chat(chat: str, store: str | None, yes: bool) -> None:
    """Delete a chat with all that was said in it. This cannot be undone."""
    told = run(_lines(store, chat))[0]
    if not yes:
        click.confirm(f"Delete `{told['title']}` with all that was said in it?", abort=True)

    async def work(transaction: Transaction) -> None:
        from waifu_llm.chats import chats

        found = await chats.find_for(transaction, told["chat_id"], None)
        await chats.delete_all_of(transaction, found)

    run(change(store, f"CHAT_DELETE of {told['chat_id']}", work))
    click.echo(harmless(f"`{told['title']}` is deleted."))


async def _find(database: Database, chat: str) -> AnyRow:
    from waifu_llm.chats import chats
    from waifu_llm.chats.transaction import Transaction

    return await database.read(
        lambda connection: chats.find_for(Transaction(connection), chat, None)
    )
