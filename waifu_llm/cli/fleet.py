"""The Redis of the workers, for the commands that look into it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from waifu_llm.cli.options import resolved
from waifu_llm.config import ConfigError
from waifu_llm.errors import Unavailable
from waifu_llm.extras import needed

if TYPE_CHECKING:
    from waifu_llm.workers.link import Link
    from waifu_llm.workers.names import Names
    from waifu_llm.workers.psylink.config import RedisPlace

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
        from waifu_llm.workers.names import Names

        settings, _ = resolved()
        where = url or settings.redis or settings.workers
        if not where:
            raise ConfigError("Say which Redis: --redis redis://…, or the setting `workers`.")
        return asyncio.run(_linked(where, lambda link: work(link, Names(settings.workers_name))))


def with_lists(file: Path, work: Callable[[Link, RedisPlace], Awaitable[T]]) -> T:
    """Those that a Psylink worker's file names.

    Raises:
        ConfigError: When the file cannot be read, or something in it cannot be.
        Unavailable: When Redis does not answer.
    """
    with needed("redis", "A look at the lists"):
        from waifu_llm.workers.psylink.config import read_config, url_of

        place = read_config(file).redis
        return asyncio.run(_linked(url_of(place), lambda link: work(link, place)))


async def _linked(url: str, work: Callable[[Link], Awaitable[T]]) -> T:
    from waifu_llm.workers.link import Link, explain
    from waifu_llm.workers.outages import FAILURES

    link = Link(url)
    try:
        await link.check()
        return await work(link)
    except FAILURES as exc:
        raise Unavailable(explain(exc, link.place)) from None
    finally:
        await link.close()
