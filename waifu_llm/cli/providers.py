"""`waifu-llm providers`"""

from __future__ import annotations

import json

import click

from waifu_llm import plugins
from waifu_llm.cli.options import resolved
from waifu_llm.environments import Environments
from waifu_llm.paths import bundled_providers


@click.command("providers", short_help="List the providers that can be loaded.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(as_json: bool) -> None:
    """List the providers that can be loaded, and which are installed already.

    A provider is installed when it is first loaded. Providers of your own go into the folder
    `providers` of the module's home, one folder each.

    \b
    Examples:
      waifu-llm providers
      waifu-llm providers --json
    """
    settings, found = resolved()
    catalogue = plugins.discover(
        bundled_providers(), found.drop_in_providers, settings.disabled_plugins
    )
    environments = Environments(found.environments, found.cache)
    rows = [
        {
            "name": spec.name,
            "title": spec.title,
            "kind": spec.kind,
            "installed": environments.find(spec) is not None,
            "folder": str(spec.folder),
        }
        for spec in sorted(catalogue.specs.values(), key=lambda spec: spec.name)
    ]
    if as_json:
        click.echo(json.dumps({"providers": rows, "broken": catalogue.broken}, indent=2))
        return
    for row in rows:
        state = "installed" if row["installed"] else "not installed"
        click.echo(f"{row['name']:<16} {row['kind']:<6} {state:<14} {row['title']}")
    for name, why in catalogue.broken.items():
        click.echo(f"{name:<16} cannot be used: {why}", err=True)
