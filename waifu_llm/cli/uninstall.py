"""`waifu-llm uninstall`"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click

from waifu_llm.cli.here import Here, look_around
from waifu_llm.cli.install import json_option
from waifu_llm.cli.sizes import megabytes
from waifu_llm.environments import Installed


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
    known = here.environments.installed()
    removed = [_remove(here, name, known) for name in dict.fromkeys(names)]
    if as_json:
        click.echo(json.dumps({"providers": removed}, indent=2))
        return
    for each in removed:
        removed_it = f"is removed ({megabytes(each['bytes'])})"
        click.echo(f"{each['name']} {removed_it if each['removed'] else 'is not installed'}.")


def _remove(here: Here, name: str, known: list[Installed]) -> dict[str, Any]:
    if not any(each.provider == name for each in known):
        here.catalogue.find(name)  # a name that nobody bears is an error
    folders = asyncio.run(here.environments.remove(name))
    size = sum(each.own_bytes for each in known if each.folder in folders)
    return {"name": name, "removed": len(folders), "bytes": size}
