"""`waifu-llm status`"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click

from waifu_llm.cli.address import module_url
from waifu_llm.cli.reach import Token, client_options, connected


@click.command("status", short_help="Show what a running module is doing.")
@client_options
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(url: str | None, token: Token | None, as_json: bool) -> None:
    """Show what a running module has loaded, what runs, and what waits.

    The exit status is 1 when no module answers.

    \b
    Examples:
      waifu-llm status
      waifu-llm status --url ws://127.0.0.1:7562 --json
    """
    status = asyncio.run(_ask(module_url(url), token))
    if as_json:
        click.echo(json.dumps(status, indent=2))
    else:
        _show(status)


async def _ask(url: str, token: Token | None) -> dict[str, Any]:
    async with connected(url, token, "cli") as client:
        status = await client.status()
    for name in ("type", "unique_request_id", "is_error", "error"):
        status.pop(name, None)
    return status


def _show(status: dict[str, Any]) -> None:
    up, memory = _duration(status["uptime_seconds"]), _megabytes(status["memory_bytes"])
    click.echo(f"waifu-llm {status['version']}, up {up}, {memory}, process {status['pid']}")
    running, waiting = status["generations"], status["waiting"]
    others = _counted(status["clients"] - 1, "other client")  # one of them asks for this
    click.echo(f"{others}, {running} generating, {waiting} waiting")
    for load in status["loads"]:
        state = f"{load['provider']}: {load['state']}, {_counted(load['models'], 'model')}"
        work = f"{load.get('requests', 0)} of {load['concurrency']} running"
        where = (
            "at workers" if load.get("at") == "workers" else _megabytes(load.get("memory_bytes"))
        )
        click.echo(f"  {state}, {work}, {where}")
    if not status["loads"]:
        click.echo("  nothing is loaded")
    if fleet := status.get("workers"):
        there = f"{_counted(len(fleet['workers']), 'worker')} over {fleet['redis']}"
        parked = f", {fleet['parked']} parked" if fleet["parked"] else ""
        click.echo(f"{there}: {fleet['running']} generating, {fleet['waiting']} waiting{parked}")
    if helpers := status.get("helpers"):
        well = sum(each["state"] == "well" for each in helpers)
        click.echo(f"{_counted(len(helpers), 'helper')}, {well} of them well")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _megabytes(count: int | None) -> str:
    return "memory unknown" if count is None else f"{count / 2**20:.0f} MB"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
