"""`waifu-llm logs`"""

from __future__ import annotations

import time
from pathlib import Path

import click

from waifu_llm import paths
from waifu_llm.errors import InvalidProvider

_POLL_SECONDS = 0.2


@click.command("logs", short_help="Show what a provider's processes wrote to stderr.")
@click.argument("name", required=False)
@click.option("-n", "--lines", default=50, metavar="N", help="How many lines.", show_default=True)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
def command(name: str | None, lines: int, follow: bool) -> None:
    """Show what a provider's processes wrote to stderr, or list the logs there are.

    Each line tells when it was written and by which process. Keys are hidden. A log that has
    grown large is put aside: NAME.log.1 is the one before.

    \b
    Examples:
      waifu-llm logs
      waifu-llm logs openai -n 200
      waifu-llm logs echo --follow
    """
    found = paths.find()
    if name is None:
        _list(found.logs)
        return
    file = found.provider_log(name)
    if not file.is_file():
        raise InvalidProvider(f"`{name}` has no log: {file} is not there.")
    place = _show_end(file, lines)
    if follow:
        _follow(file, place)


def _list(folder: Path) -> None:
    logs = sorted(folder.glob("*.log"))
    for file in logs:
        click.echo(f"{file.stem:<16} {file.stat().st_size / 1024:8.1f} KiB  {file}")
    if not logs:
        click.echo("No provider has written anything yet.", err=True)


def _show_end(file: Path, lines: int) -> int:
    data = file.read_bytes()
    for line in data.decode("utf-8", "replace").splitlines()[-lines:] if lines > 0 else ():
        click.echo(line)
    return len(data)


def _follow(file: Path, place: int) -> None:
    """Until Ctrl-C. A file that has become shorter is a new one."""
    while True:
        size = file.stat().st_size if file.exists() else 0
        place = 0 if size < place else place
        if size > place:
            with file.open("rb") as opened:
                opened.seek(place)
                new = opened.read()
            click.echo(new.decode("utf-8", "replace"), nl=False)
            place += len(new)
        time.sleep(_POLL_SECONDS)
