"""`waifu-llm new-provider`"""

from __future__ import annotations

import os
from pathlib import Path

import click

from waifu_llm import scaffold
from waifu_llm.cli.advice import program, quoted
from waifu_llm.cli.here import look_around


@click.command("new-provider", short_help="Make a provider of your own, ready to be changed.")
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where to make its folder.  [default: where the module finds it]",
)
def command(name: str, into: Path | None) -> None:
    """Make a provider of your own, ready to be changed.

    It makes a folder with a small provider that works, its declaration, a test and a README.
    Without --into it lies in the folder `providers` of the module's home, so that the module can
    load it at its next start. docs/providers.md tells the rest.

    \b
    Examples:
      waifu-llm new-provider my-llm
      waifu-llm new-provider my-llm --into .
    """
    here = look_around()
    drop_in, known = here.paths.drop_in_providers, here.catalogue
    files = scaffold.make(name, into or drop_in, {*known.specs, *known.broken})
    folder = files[0].parent.resolve()
    click.echo(f"Made {folder} with " + ", ".join(file.name for file in files) + ".")
    click.echo("\nCheck it, now and after each change:")
    click.echo(f"  {program()} check-provider {quoted(str(folder))}")
    if os.path.realpath(folder.parent) == os.path.realpath(drop_in):
        click.echo("\nTalk to it. A module that runs already has to be started anew:")
        click.echo(f"  {program()} serve")
        click.echo(f"  {program()} chat --provider {name}")
    else:
        click.echo(f"\nThe module finds it once its folder is in {drop_in}.")
