"""`waifu-llm assistants`: list, show, add, remove"""

from __future__ import annotations

import json
import sys
from typing import Any, BinaryIO

import click

from waifu_llm.cli.install import json_option
from waifu_llm.cli.main import FAILED
from waifu_llm.cli.options import resolved
from waifu_llm.errors import WaifuError
from waifu_llm.jobs.shelf import Shelf


@click.group("assistants", short_help="Keep assistants for jobs, list, show and remove them.")
def command() -> None:
    """Keep assistants for jobs, list, show and remove them.

    An assistant is a template of what a job asks, and whom: docs/jobs.md has all of it. One that is
    kept is named in an `add`. Each is a file of the folder `assistants` in the module's home; what
    changes there holds from the next job on.

    \b
    Examples:
      waifu-llm assistants add guide guide.json
      waifu-llm assistants list
      waifu-llm jobs add guide "How tall is it?"
    """


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the assistants, and what is wrong with one that cannot be used."""
    shelf = _shelf()
    rows = [_row(shelf, name) for name in shelf.names()]
    if as_json:
        click.echo(json.dumps({"folder": str(shelf.folder), "assistants": rows}, indent=2))
        return
    for row in rows:
        click.echo(f"{row['name']:<24} {row['error'] or ', '.join(row['providers'])}")
    if not rows:
        click.echo(f"There are none in {shelf.folder}. `waifu-llm assistants add` keeps one.")


@command.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Print an assistant, as JSON."""
    click.echo(json.dumps(_shelf().template(name), indent=2, ensure_ascii=False))


@command.command("add")
@click.argument("name")
@click.argument("file", type=click.File("rb"), default="-")
def add(name: str, file: BinaryIO) -> None:
    """Keep the assistant that stands in FILE, or comes from stdin. It is checked first, and
    replaces one of the same name.
    """
    shelf = _shelf()
    shelf.put(name, file.read())
    click.echo(f"The assistant `{name}` is in {shelf.folder}.")


@command.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Remove an assistant. Jobs that were accepted with it are done all the same."""
    if not _shelf().remove(name):
        click.echo(f"There is no assistant `{name}`.", err=True)
        sys.exit(FAILED)
    click.echo(f"The assistant `{name}` is removed.")


def _shelf() -> Shelf:
    _, found = resolved()
    return Shelf(found.assistants)


def _row(shelf: Shelf, name: str) -> dict[str, Any]:
    try:
        template = shelf.template(name)
    except WaifuError as error:
        return {"name": name, "providers": [], "error": error.message}
    providers = [str(stream["provider"]) for stream in template["streams"]]
    return {"name": name, "providers": list(dict.fromkeys(providers)), "error": None}
