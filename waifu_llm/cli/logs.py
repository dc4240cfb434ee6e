"""`waifu-llm logs`"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import click

from waifu_llm import paths
from waifu_llm.cli.terminal import harmless
from waifu_llm.errors import InvalidProvider

_POLL_SECONDS = 0.2


def _names(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    return [name for name in _logs() if name.startswith(begun)]


@click.command("logs", short_help="Show what a provider's processes wrote to stderr.")
@click.argument("name", required=False, shell_complete=_names)
@click.option(
    "-n",
    "--lines",
    default=50,
    type=click.IntRange(min=0),
    metavar="N",
    help="How many lines.",
    show_default=True,
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
def command(name: str | None, lines: int, follow: bool) -> None:
    """Show what a provider's processes wrote to stderr, or list the logs there are.

    Each line tells when it was written and by which process. Keys are hidden. A log that has
    grown large is put aside: beside it, NAME.log.1 is the one before.

    \b
    Examples:
      waifu-llm logs
      waifu-llm logs openai -n 200
      waifu-llm logs echo --follow
    """
    logs = _logs()
    if name is None:
        _list(logs)
    elif name in logs:
        _show(Log(logs[name]), lines, follow)
    else:
        there = ", ".join(logs) or "none yet"
        raise InvalidProvider(f"There is no log `{name}`. There are: {there}.")


def _logs() -> dict[str, Path]:
    """Only what is found here can be named: no path leads elsewhere."""
    return {file.stem: file for file in sorted(paths.find().logs.glob("*.log"))}


def _list(logs: dict[str, Path]) -> None:
    for name, file in logs.items():
        click.echo(f"{name:<16} {file.stat().st_size / 1024:8.1f} KiB  {file}")
    if not logs:
        click.echo("No provider has written anything yet.", err=True)


def _show(log: Log, lines: int, follow: bool) -> None:
    """To its end, or until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        click.echo(harmless(log.last(lines)), nl=False)
        while follow:
            time.sleep(_POLL_SECONDS)
            for text in log.news():
                click.echo(harmless(text), nl=False)


class Log:
    """A log that is read while others write it.

    It is not kept open: on Windows nobody could put it aside then.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._place = 0
        self._which = 0

    def last(self, count: int) -> str:
        """The last lines that stand in it."""
        lines = self._read(self._file).split(b"\n")[:-1]
        kept = lines[-count:] if count else []
        return b"".join(line + b"\n" for line in kept).decode("utf-8", "replace")

    def news(self) -> Iterator[str]:
        """What was added since; from the end of a file that was put aside meanwhile, too."""
        with contextlib.suppress(FileNotFoundError):
            found = self._file.stat()
            if found.st_ino != self._which or found.st_size < self._place:
                yield self._rest_of_former()
                self._place = 0
            yield self._read(self._file).decode("utf-8", "replace")

    def _rest_of_former(self) -> str:
        former = self._file.with_name(f"{self._file.name}.1")
        with contextlib.suppress(FileNotFoundError):
            if former.stat().st_ino == self._which:
                return self._read(former).decode("utf-8", "replace")
        return ""

    def _read(self, file: Path) -> bytes:
        """Whole lines from our place on."""
        with file.open("rb") as opened:
            self._which = os.fstat(opened.fileno()).st_ino
            opened.seek(self._place)
            data = opened.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._place += len(whole)
        return whole
