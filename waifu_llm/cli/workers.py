"""`waifu-llm workers`"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from waifu_llm.cli.fleet import json_option, redis_option, with_redis
from waifu_llm.cli.terminal import harmless

if TYPE_CHECKING:
    from waifu_llm.workers.link import Link
    from waifu_llm.workers.names import Names
    from waifu_llm.workers.roll import Offer, Said

_SHOWN = 5


@click.command("workers", short_help="Show the workers that are there, and what they offer.")
@redis_option
@json_option
def command(redis: str | None, as_json: bool) -> None:
    """Show the workers that are there: what they offer, how busy they are, when they were heard.

    \b
    Examples:
      waifu-llm workers --redis redis://gpu-box:6379/0
      waifu-llm workers --json
    """
    import msgspec

    workers = with_redis(redis, _all)
    if as_json:
        click.echo(json.dumps({"workers": msgspec.to_builtins(workers)}, indent=2))
    else:
        click.echo(harmless("\n".join(map(_lines, workers))) or "No worker is there.")


async def _all(link: Link, names: Names) -> list[Said]:
    from waifu_llm.workers.roll import Roll

    roll = Roll(link, names)
    await roll.look()
    return roll.workers


def _lines(said: Said) -> str:
    heard = max(0.0, time.time() - said.heard)
    head = f"{said.id}: {said.state}, waifu-llm {said.version}, process {said.pid} of {said.host}"
    counts = f"{said.done} done, {said.failed} failed, heard {heard:.0f} s ago"
    offers = [f"  {name}: {_offer(offer)}" for name, offer in sorted(said.offers.items())]
    return "\n".join([f"{head}, {counts}", *(offers or ["  offers nothing now"])])


def _offer(offer: Offer) -> str:
    busy = f"{offer.running} of {offer.places} running"
    if offer.models is None:
        return f"{busy}, any model"
    more = f" and {len(offer.models) - _SHOWN} more" if len(offer.models) > _SHOWN else ""
    return f"{busy}, {', '.join(offer.models[:_SHOWN]) or 'no model'}{more}"
