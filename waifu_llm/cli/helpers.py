"""`waifu-llm helpers`"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click

from waifu_llm.cli.address import module_url
from waifu_llm.cli.reach import Token, client_options, connected
from waifu_llm.cli.terminal import harmless

_NONE = (
    "This module has no helpers: they are there once it serves HTTP, or has a table `helpers` in "
    "its configuration."
)


@click.command("helpers", short_help="Show the helpers of a running module, and how they are.")
@client_options
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(url: str | None, token: Token | None, as_json: bool) -> None:
    """Show the helpers that models may call: what they can do, how they are, when they go.

    They register over HTTP, or stand in the configuration. docs/helpers.md tells more.

    \b
    Examples:
      waifu-llm helpers
      waifu-llm helpers --json
    """
    helpers = asyncio.run(_ask(module_url(url), token))
    if as_json:
        click.echo(json.dumps({"helpers": helpers or []}, indent=2))
    elif helpers is None:
        click.echo(_NONE)
    else:
        click.echo(harmless("\n".join(map(_lines, helpers))) or "No helper is registered.")


async def _ask(url: str, token: Token | None) -> list[dict[str, Any]] | None:
    async with connected(url, token, "cli") as client:
        found: list[dict[str, Any]] | None = (await client.status()).get("helpers")
        return found


def _lines(helper: dict[str, Any]) -> str:
    where = helper["url"] or "nowhere to be asked"
    of_whom = "configured" if helper["configured"] else _lease(helper["lease_seconds_left"])
    counts = f"{helper['asked']} asked, {helper['failed']} failed"
    head = f"{helper['name']}: {helper['state']}, {helper['kind']}, {where}, {of_whom}, {counts}"
    trouble = [f"  {helper['trouble']}"] if helper["trouble"] else []
    return "\n".join([head, *trouble, f"  {', '.join(helper['capabilities']) or 'can do nothing'}"])


def _lease(seconds: float | None) -> str:
    return "registered" if seconds is None else f"for {seconds:.0f} s more"
