"""The Redis of the workers, for the commands that look into it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from waifu_llm.cli.options import resolved
from waifu_llm.config import ConfigError
from waifu_llm.errors import Unavailable
from waifu_llm.extras import needed

if TYPE_CHECKING:
    from waifu_llm.workers.link import Link
    from waifu_llm.workers.names import Names

T = TypeVar("T")
redis_option = click.option(
    "--redis",
    metavar="URL",
    help="The Redis, where the settings `redis` and `workers` name another or none.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")


def with_redis(url: str | None, work: Callable[[Link, Names], Awaitable[T]]) -> T:
    """
    Raises:
        ConfigError: When nobody said where it is.
        Unavailable: When it does not answer.
    """
    with needed("redis", "A look at the workers"):
        return asyncio.run(_with_redis(url, work))


async def _with_redis(url: str | None, work: Callable[[Link, Names], Awaitable[T]]) -> T:
    from waifu_llm.workers.link import Link, explain
    from waifu_llm.workers.names import Names
    from waifu_llm.workers.outages import FAILURES

    settings, _ = resolved()
    where = url or settings.redis or settings.workers
    if not where:
        raise ConfigError("Say which Redis: --redis redis://…, or the setting `workers`.")
    link = Link(where)
    try:
        await link.check()
        return await work(link, Names(settings.workers_name))
    except FAILURES as exc:
        raise Unavailable(explain(exc, link.place)) from None
    finally:
        await link.close()
