"""`waifu-llm queue`: show, retry, drop"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from waifu_llm.cli.fleet import json_option, redis_option, with_lists, with_redis
from waifu_llm.cli.terminal import harmless, one_line

if TYPE_CHECKING:
    from waifu_llm.workers.link import Link
    from waifu_llm.workers.names import Names
    from waifu_llm.workers.psylink.config import RedisPlace
    from waifu_llm.workers.queues import Queue

T = TypeVar("T")
Work = Callable[["Overseen"], Awaitable[T]]
_psylink_option = click.option(
    "--psylink",
    type=click.Path(path_type=Path),
    help="The lists that this file of a Psylink worker names, in place of the workers' streams.",
)


class Overseen(Protocol):
    """Queues of either kind."""

    async def queues(self) -> list[Queue]: ...
    async def parked(self) -> list[dict[str, Any]]: ...
    async def retry(self, id: str, say: Callable[[str], None]) -> None: ...
    async def drop(self, ids: Sequence[str]) -> int: ...
    async def drop_all(self) -> int: ...


def _oversee(
    redis: str | None, psylink: Path | None, work: Callable[[Overseen], Awaitable[T]]
) -> T:
    async def streams(link: Link, names: Names) -> T:
        from waifu_llm.workers.oversight import Oversight

        return await work(Oversight(link, names))

    async def lists(link: Link, place: RedisPlace) -> T:
        from waifu_llm.workers.psylink.oversight import Oversight

        return await work(Oversight(link.redis, place))

    return with_lists(psylink, lists) if psylink else with_redis(redis, streams)


@click.group(
    "queue",
    invoke_without_command=True,
    short_help="Show what waits for workers, and see to what was parked.",
)
@click.pass_context
def command(context: click.Context) -> None:
    """Show what waits for workers, and see to what was parked: what killed one worker after the
    other, or could not be read. Without a command it shows them.

    \b
    Examples:
      waifu-llm queue
      waifu-llm queue show --psylink config.toml
      waifu-llm queue retry 1795293361768-0
      waifu-llm queue drop --all
    """
    if context.invoked_subcommand is None:
        context.invoke(show)


@command.command("show", short_help="Show the queues, and what was parked.")
@redis_option
@_psylink_option
@json_option
def show(redis: str | None, psylink: Path | None, as_json: bool) -> None:
    """Show how much waits and runs, how long the oldest has waited, and what was parked and why."""
    import msgspec

    queues, parked = _oversee(redis, psylink, _everything)
    if as_json:
        told = {"queues": msgspec.to_builtins(queues), "parked": parked}
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    lines = [*map(_queue_line, queues)] or ["Nothing waits, and nothing runs."]
    click.echo(harmless("\n".join([*lines, *map(_parked_line, parked)])))


async def _everything(overseen: Overseen) -> tuple[list[Queue], list[dict[str, Any]]]:
    return await overseen.queues(), await overseen.parked()


def _queue_line(queue: Queue) -> str:
    oldest = f", the oldest for {queue.waiting_seconds:.1f} s" if queue.waiting else ""
    counts = f"{queue.running} running, {queue.waiting} waiting{oldest}"
    return f"{one_line(queue.route)} ({queue.urgency}): {counts}"


def _parked_line(about: dict[str, Any]) -> str:
    when = datetime.fromtimestamp(about["when"]).strftime("%Y-%m-%d %H:%M:%S")
    names = "op", "provider", "model", "client"
    what = " ".join(one_line(str(about[name])) for name in names if about.get(name))
    return f"parked {about['id']} at {when}: {what or 'unreadable'}. {one_line(about['why'])}"


@command.command("retry", short_help="Try something once more, and print what comes of it.")
@click.argument("id")
@redis_option
@_psylink_option
def retry(id: str, redis: str | None, psylink: Path | None) -> None:
    """Have a worker try once more what was parked as ID, and print the answer. Whoever asked first
    has been told long ago that it failed. A prompt of Psylink goes back to its list, and its output
    to the list of outputs."""

    async def work(overseen: Overseen) -> None:
        await overseen.retry(id, lambda text: click.echo(harmless(text), nl=False))
        click.echo()

    _oversee(redis, psylink, work)


@command.command("drop", short_help="Forget what was parked.")
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of it.")
@redis_option
@_psylink_option
def drop(ids: tuple[str, ...], everything: bool, redis: str | None, psylink: Path | None) -> None:
    """Forget what was parked as IDS, or all of it."""
    if bool(ids) == everything:
        raise click.UsageError("Name what is to be dropped, or say --all.")

    def work(overseen: Overseen) -> Awaitable[int]:
        return overseen.drop_all() if everything else overseen.drop(ids)

    click.echo(f"{_oversee(redis, psylink, work)} dropped.")
