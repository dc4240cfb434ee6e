"""`waifu-llm uninstall`"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import click

from waifu_llm.cli.here import Here, look_around
from waifu_llm.cli.install import json_option
from waifu_llm.cli.sizes import megabytes


@click.command("uninstall", short_help="Remove the environments of providers.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@json_option
def command(names: tuple[str, ...], as_json: bool) -> None:
    """Remove the environments of providers. The next load of one installs it anew.

    One that a running module uses is not removed. A provider that is gone can be named as well.

    \b
    Examples:
      waifu-llm uninstall openai
    """
    here = look_around()
    removed = [_remove(here, name) for name in dict.fromkeys(names)]
    if as_json:
        click.echo(json.dumps({"providers": removed}, indent=2))
        return
    for each in removed:
        removed_it = f"is removed ({megabytes(each['bytes'])})"
        click.echo(f"{each['name']} {removed_it if each['removed'] else 'is not installed'}.")


def _remove(here: Here, name: str) -> dict[str, Any]:
    if not (here.paths.environments / name).is_dir():
        here.catalogue.find(name)  # a name that nobody bears is an error
    removed = asyncio.run(here.environments.remove(name, tell_of_waiting(name)))
    return {
        "name": name,
        "removed": len(removed),
        "bytes": sum(each.bytes for each in removed),
    }


def tell_of_waiting(name: str) -> Callable[[], None]:
    told = f"Waiting: another program installs {name}."
    return lambda: click.echo(told, err=True)
