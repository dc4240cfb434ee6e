"""`waifu-llm chats`: list, show, export, delete"""

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
from waifu_llm.cli.terminal import harmless

if TYPE_CHECKING:
    from waifu_llm.chats.transaction import Transaction


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
    rows = run(heads_of_all(store, "chat"))
    text = "\n".join(f"{row['number']:>6} {row['chat_id']} {row['title']}" for row in rows)
    show({"chats": rows}, as_json=as_json, text=text or "There are no chats.")


@command.command("show", short_help="Show what was said in a chat.")
@click.argument("chat")
@store_option
@json_option
def show_chat(chat: str, store: str | None, as_json: bool) -> None:
    """Show who is in a chat, and what was said in it."""
    told, *messages = run(lines_of(store, "chat", chat))
    who = ", ".join(each["username"] for each in told["users"]) or "nobody"
    text = [f"{told['title']} ({told['chat_id']}), {who}"]
    text += [f"{each.get('username') or each['role']}: {each['content']}" for each in messages]
    show({"chat": told, "messages": messages}, as_json=as_json, text="\n".join(text))


@command.command("export", short_help="Write chats as JSON Lines.")
@click.argument("chat", required=False)
@store_option
def export_chats(chat: str | None, store: str | None) -> None:
    """Write a chat and what was said in it as JSON Lines. Without a CHAT, all of them."""
    run(export(store, "chat", chat))


@command.command("delete", short_help="Delete a chat with all that was said in it.")
@click.argument("chat")
@store_option
@yes_option
def delete_chat(chat: str, store: str | None, yes: bool) -> None:
    """Delete a chat with all that was said in it. This cannot be undone."""
    told = run(head_of(store, "chat", chat))
    if not yes:
        click.confirm(f"Delete `{told['title']}` with all that was said in it?", abort=True)

    async def work(transaction: Transaction) -> None:
        from waifu_llm.chats import chats

        found = await chats.find_for(transaction, told["chat_id"], None)
        await chats.delete_all_of(transaction, found)

    run(change(store, f"CHAT_DELETE of {told['chat_id']}", work))
    click.echo(harmless(f"`{told['title']}` is deleted."))
