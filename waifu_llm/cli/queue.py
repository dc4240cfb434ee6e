"""`waifu-llm queue`: show, retry, drop"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from waifu_llm.cli.fleet import json_option, redis_option, with_redis
from waifu_llm.cli.terminal import harmless, one_line

if TYPE_CHECKING:
    from waifu_llm.workers.link import Link
    from waifu_llm.workers.names import Names
    from waifu_llm.workers.parked import Parked
    from waifu_llm.workers.queues import Queue


@click.group("queue", short_help="Show what waits for workers, and see to what was parked.")
def command() -> None:
    """Show what waits for workers, and see to what was parked: what killed one worker after the
    other, or could not be read.

    \b
    Examples:
      waifu-llm queue show
      waifu-llm queue retry 1795293361768-0
      waifu-llm queue drop --all
    """


@command.command("show", short_help="Show the queues, and what was parked.")
@redis_option
@json_option
def show(redis: str | None, as_json: bool) -> None:
    """Show how much waits and runs, how long the oldest has waited, and what was parked and why."""
    import msgspec

    queues, parked = with_redis(redis, _everything)
    about = [each.about for each in parked]
    if as_json:
        told = {"queues": msgspec.to_builtins(queues), "parked": about}
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    lines = [*map(_queue_line, queues)] or ["Nothing waits, and nothing runs."]
    click.echo(harmless("\n".join([*lines, *map(_parked_line, about)])))


async def _everything(link: Link, names: Names) -> tuple[list[Queue], list[Parked]]:
    from waifu_llm.workers import parked
    from waifu_llm.workers.queues import queues

    return await queues(link, names), await parked.everything(link, names)


def _queue_line(queue: Queue) -> str:
    oldest = f", the oldest for {queue.waiting_seconds:.1f} s" if queue.waiting else ""
    counts = f"{queue.running} running, {queue.waiting} waiting{oldest}"
    return f"{one_line(queue.route)} ({queue.urgency}): {counts}"


def _parked_line(about: dict[str, Any]) -> str:
    when = datetime.fromtimestamp(about["when"]).strftime("%Y-%m-%d %H:%M:%S")
    what = " ".join(str(about[name]) for name in ("op", "provider", "model") if about.get(name))
    return f"parked {about['id']} at {when}: {what or 'unreadable'}. {one_line(about['why'])}"


@command.command("retry", short_help="Try something once more, and print what comes of it.")
@click.argument("id")
@redis_option
def retry(id: str, redis: str | None) -> None:
    """Have a worker try once more what was parked as ID, and print the answer. Whoever asked first
    has been told long ago that it failed."""

    async def work(link: Link, names: Names) -> None:
        from waifu_llm.workers import oversight

        (one,) = await oversight.find(link, names, [id])
        printed = oversight.Printed(lambda text: click.echo(harmless(text), nl=False))
        await oversight.retry(link, names, one, printed)
        click.echo()
        if printed.error:
            raise printed.error

    with_redis(redis, work)


@command.command("drop", short_help="Forget what was parked.")
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of it.")
@redis_option
def drop(ids: tuple[str, ...], everything: bool, redis: str | None) -> None:
    """Forget what was parked as IDS, or all of it."""
    if bool(ids) == everything:
        raise click.UsageError("Name what is to be dropped, or say --all.")

    async def work(link: Link, names: Names) -> int:
        from waifu_llm.workers import oversight, parked

        if everything:
            return await parked.drop_all(link, names)
        await oversight.find(link, names, ids)
        return await parked.drop(link, names, ids)

    count = with_redis(redis, work)
    click.echo(f"{count} dropped.")
