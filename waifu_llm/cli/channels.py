"""`waifu-llm channels`"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import click

from waifu_llm.cli.address import module_url
from waifu_llm.cli.here import Here, look_around
from waifu_llm.cli.install import json_option
from waifu_llm.cli.main import FAILED
from waifu_llm.cli.reach import Token, client_options, connected
from waifu_llm.cli.terminal import harmless
from waifu_llm.config import ConfigError
from waifu_llm.errors import Unavailable, WaifuError

_OWNER = "channels."


@click.command("channels", short_help="Show the channels that are configured, and how they do.")
@client_options
@json_option
def command(url: str | None, token: Token | None, as_json: bool) -> None:
    """Show the channels of waifu-llm.toml: whether each can be opened, and, where a module runs,
    how many were answered, what waits, and the last trouble.

    The exit status is 1 when one of them cannot be opened, or is not open.

    \b
    Examples:
      waifu-llm channels
      waifu-llm channels --json
    """
    here = look_around()
    rows = asyncio.run(_all(here, module_url(url), token))
    if as_json:
        click.echo(json.dumps({"channels": rows}, indent=2))
    else:
        lines = [line_of(name, row) for name, row in rows.items()]
        click.echo(harmless("\n".join(lines)) or "There are no channels. See docs/channels.md.")
    if any(row["state"] == "failed" for row in rows.values()):
        sys.exit(FAILED)


async def _all(here: Here, url: str, token: Token | None) -> dict[str, dict[str, Any]]:
    """What the module that runs says of them; what can be told without it where none does."""
    rows: dict[str, dict[str, Any]] = {}
    for name, why in (await looked_at(here)).items():
        trouble = {"last_trouble": why} if why else {}
        state = {"state": "failed" if why else "not running"}
        rows[name] = {"kind": _kind(here, name), **state, **trouble}
    try:
        async with connected(url, token, "cli") as client:
            told = (await client.status()).get("channels", {})
    except Unavailable:
        told = {}
    return {**rows, **told}


def line_of(name: str, row: dict[str, Any]) -> str:
    counts = [f"{row[each]} {each}" for each in ("answered", "waiting", "refused") if row.get(each)]
    head = ", ".join([f"channel {name} ({row['kind']}): {row['state']}", *counts])
    return f"{head}\n  {row['last_trouble']}" if row.get("last_trouble") else head


async def looked_at(here: Here) -> dict[str, str]:
    """What keeps each channel from being opened; nothing where it can be."""
    return {name: await _why_not(here, name) for name in here.settings.channels}


async def _why_not(here: Here, name: str) -> str:
    from waifu_llm.channels import making, tables

    try:
        (table,) = tables.read({name: here.settings.channels[name]})
        here.find(table.persona.provider)
        await making.make(table, here.catalogue.channels, here.stored, lambda _: None)
    except WaifuError as error:
        return error.message
    return "" if here.settings.store else "Channels need a store: set `store`."


# Secrets


def is_channel(owner: str) -> bool:
    return owner.startswith(_OWNER)


def about_secret(here: Here, owner: str, name: str) -> str:
    """What that is.

    Raises:
        UsageError: When the channel has no such secret; says which it has.
    """
    from waifu_llm.channels import kinds

    channel = owner.removeprefix(_OWNER)
    spec = here.catalogue.channels.get(_kind(here, channel))
    if spec is None:
        raise click.UsageError(f"There is no channel `{channel}` in {here.paths.config_file}.")
    try:
        secrets = kinds.load(spec).SECRETS
    except ConfigError as error:
        raise click.UsageError(error.message) from None
    if name not in secrets:
        known = ", ".join(f"`{each}`" for each in secrets) or "none"
        raise click.UsageError(f"The channel `{channel}` has no secret `{name}`. It has: {known}.")
    return secrets[name]


def _kind(here: Here, name: str) -> str:
    kind = here.settings.channels.get(name, {}).get("kind", name)
    return kind if isinstance(kind, str) else ""
