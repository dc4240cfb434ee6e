"""The keyboard and the screen, or the pipes in their place."""

from __future__ import annotations

import atexit
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unicodedata import category

import click


def at_terminal() -> bool:
    """Whether somebody sits there and types."""
    return sys.stdin.isatty()


def confirm(text: str) -> None:
    """Say what was done, to who typed it. In a pipe only answers are wanted."""
    if at_terminal():
        click.echo(text)


def warn(text: str) -> None:
    click.secho(text, fg="red", err=True)


def next_line() -> str | None:
    """What was typed; None at its end. Ctrl-C gives up the line, not the conversation."""
    while True:
        try:
            line = input("> " if at_terminal() else "").strip()
            return line.encode("utf-8", "replace").decode()
        except KeyboardInterrupt:
            click.echo()
        except EOFError:
            confirm("")
            return None


def harmless(text: str) -> str:
    """A model may be talked into anything: it writes, but it does not steer the terminal."""
    return "".join(each for each in text if each in "\n\t" or category(each) != "Cc")


def one_line(text: object) -> str:
    """What a file says of itself takes no line of its own."""
    return harmless(str(text)).replace("\n", " ").replace("\t", " ")


@contextmanager
def on_ctrl_c(react: Callable[[], object]) -> Iterator[None]:
    """A handler, and no exception: that could fall between taking a piece and showing it."""
    former = signal.signal(signal.SIGINT, lambda *_: react())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def remember_lines(file: Path) -> None:
    """Arrow keys and a history, where the system has readline and the file can be used."""
    try:
        import readline
    except ImportError:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
        readline.read_history_file(file)
    except OSError:
        return

    def keep() -> None:
        with contextlib.suppress(OSError):
            readline.write_history_file(file)

    atexit.register(keep)
