"""`waifu-llm config`"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from waifu_llm import config
from waifu_llm.cli.options import resolved
from waifu_llm.redaction import HIDDEN


@click.command("config", short_help="Show the settings that hold, and where each comes from.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(as_json: bool) -> None:
    """Show every setting, what it does, its value, and where that comes from.

    Secrets are not shown. The first that is there holds: a flag of `serve`, a WAIFU_LLM_ variable,
    a key of the file, the default.

    \b
    Examples:
      waifu-llm config
      WAIFU_LLM_PORT=7000 waifu-llm config --json
    """
    settings, found = resolved()
    rows = [_row(each, settings) for each in config.settings()]
    if as_json:
        tables = {kind: _named(getattr(settings, kind)) for kind in config.TABLES}
        shown = {"file": str(found.config_file), "settings": rows, **tables}
        click.echo(json.dumps(shown, indent=2))
        return
    click.echo(f"# {found.config_file}{'' if found.config_file.exists() else ' (not there)'}")
    for row in rows:
        line = f"{row['name']} = {json.dumps(row['value'])}"
        click.echo(f"{line:<44} # {row['help']} ({row['source']})")
    for kind in config.TABLES:
        for name, keys in _named(getattr(settings, kind)).items():
            click.echo(f"[{kind}.{name}]  # {', '.join(keys)}")


def _named(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """What each table sets. Values are not shown: any may be a key."""
    return {name: sorted(tables[name]) for name in sorted(tables)}


def _row(each: Any, settings: config.Config) -> dict[str, Any]:
    value = getattr(settings, each.name)
    hidden = each.metadata["secret"] and value
    return {
        "name": each.name,
        "value": HIDDEN if hidden else value,
        "source": settings.source(each.name),
        "help": each.metadata["help"],
    }
