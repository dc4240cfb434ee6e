"""`waifu-llm prune`"""

from __future__ import annotations

import asyncio
import json

import click

from waifu_llm.cli.here import look_around
from waifu_llm.cli.install import json_option
from waifu_llm.cli.sizes import megabytes
from waifu_llm.cli.uninstall import tell_of_waiting


@click.command("prune", short_help="Remove environments that are of no use any more.")
@json_option
def command(as_json: bool) -> None:
    """Remove environments that are of no use any more.

    Those are what a killed installation left, what was replaced by another version, and what
    belongs to providers that are gone. What a running module uses stays.

    \b
    Examples:
      waifu-llm prune
    """
    here = look_around()
    wanted = {*here.catalogue.specs, *here.catalogue.broken}
    removed = asyncio.run(here.environments.prune(wanted, tell_of_waiting("a provider")))
    if as_json:
        rows = [{"name": each.provider, "folder": str(each.folder)} for each in removed]
        click.echo(json.dumps({"removed": rows}, indent=2))
        return
    for each in removed:
        click.echo(f"{each.provider}: {each.folder.name} is removed ({megabytes(each.bytes)}).")
    if not removed:
        click.echo("There was nothing to remove.")
