"""How far a long work is: a line that changes at a terminal, a line for each step elsewhere."""

from __future__ import annotations

import shutil
import sys
from types import TracebackType

import click

from waifu_llm.cli.terminal import one_line

_WIDTH = 24


class Bar:
    """A Progress for one thing. It writes to stderr: what a command answers is on stdout."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._at_terminal = sys.stderr.isatty()
        self._phase = ""
        self._shown = False

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.clear()

    def __call__(self, phase: str, fraction: float, message: str) -> None:
        text = one_line(message)
        if self._at_terminal:
            self._draw(fraction, text)
        elif phase != self._phase:
            click.echo(f"{self._name}: {text}", err=True)
        self._phase = phase

    def clear(self) -> None:
        if self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)
        self._shown = False

    def _draw(self, fraction: float, text: str) -> None:
        done = round(_WIDTH * fraction)
        bar = f"{self._name} [{'#' * done}{'.' * (_WIDTH - done)}] {100 * fraction:3.0f} % {text}"
        width = shutil.get_terminal_size().columns - 1
        click.echo(f"\r\x1b[K{bar[:width]}", nl=False, err=True)
        self._shown = True
