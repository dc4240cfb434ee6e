"""`waifu-llm serve`"""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from typing import Any

import click

from waifu_llm import system
from waifu_llm.cli.address import from_here, own_url
from waifu_llm.cli.advice import program
from waifu_llm.cli.main import FAILED
from waifu_llm.cli.options import resolved, setting_options
from waifu_llm.config import Config, ConfigError


@click.command("serve", short_help="Run the module.")
@setting_options
def command(flags: dict[str, Any]) -> None:
    """Run the module until a client closes it, or Ctrl-C.

    It prints `listening on ws://HOST:PORT` once it answers, and with --http-port where it listens
    for HTTP. Every setting has a flag here, a variable (--idle-seconds: WAIFU_LLM_IDLE_SECONDS) and
    a key in <home>/waifu-llm.toml (idle_seconds); the first that is there holds. `waifu-llm config`
    shows which, and where the home is: WAIFU_LLM_HOME can name another.

    \b
    Examples:
      waifu-llm serve
      waifu-llm serve --port 0 --parent-pid 4711
      waifu-llm serve --http-port 7563
      waifu-llm serve --allowed-origins http://127.0.0.1:8080
    """
    system.leave_first_place()
    from waifu_llm import app  # what it imports is needed by no other command

    settings, found = resolved(flags)
    _check_parent(settings)
    try:
        app.run(settings, found, _say_where)
    except OSError as exc:
        known = (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL, None)
        if exc.errno not in known and not isinstance(exc, socket.gaierror):
            raise
        click.echo(f"waifu-llm: {_explain(settings, exc)}", err=True)
        sys.exit(FAILED)


def _check_parent(settings: Config) -> None:
    pid = settings.parent_pid
    if pid and not system.process_alive(pid):
        source = settings.source("parent_pid")
        raise ConfigError(f"`parent_pid` (from {source}): there is no process {pid}.")


def _say_where(urls: list[str]) -> None:
    url = urls[0]
    lines = [
        *(f"listening on {each}" for each in urls),
        f"Try it: {program()} chat --url {from_here(url)} --provider echo",
        "Stop it: Ctrl-C",
    ]
    click.echo("\n".join(lines))  # in one write: some who start it read one line and hang up


def _explain(settings: Config, exc: OSError) -> str:
    address = f"{settings.host}:{settings.port}"
    unknown = exc.errno in (errno.EADDRNOTAVAIL, None)  # none at all from asyncio of late
    if unknown or isinstance(exc, socket.gaierror):
        return f"{settings.host} is no address of this machine."
    if exc.errno == errno.EACCES:
        return f"Listening at {address} is not permitted. Choose a port above 1023."
    if module := asyncio.run(_module_at(own_url(settings))):
        return f"{module} is already running at {address}. Use that one."
    return f"Another program listens at {address}. Choose another --port, or 0 for a free one."


async def _module_at(url: str) -> str | None:
    from waifu_llm.client import connect
    from waifu_llm.errors import Authorization, WaifuError

    try:
        async with connect(url, timeout=1) as client:
            return f"A module (waifu-llm {client.info['version']})"
    except Authorization:
        return "A module that asks for its token"
    except (WaifuError, KeyError):
        return None
