"""A terminal for the tests, where there are any."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import LIMIT

TERMINAL = pytest.mark.skipif(os.name != "posix", reason="there are no such terminals")
CTRL_C, CTRL_D = "\x03", "\x04"


class Terminal:
    """`waifu-llm` at a terminal: type, and wait for what is shown."""

    def __init__(self, home: Path, *arguments: str) -> None:
        import pty

        self._master, slave = pty.openpty()
        command = [sys.executable, "-m", "waifu_llm", *arguments]
        controlled = ["sh", "-c", 'exec "$0" "$@" <"$TTY" >"$TTY" 2>&1', *command]
        variables = {"WAIFU_LLM_HOME": str(home), "TTY": os.ttyname(slave), "TERM": "dumb"}
        self.process = subprocess.Popen(
            controlled, env={**os.environ, **variables}, start_new_session=True
        )
        self._slave = slave
        self._shown = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode("utf-8", "surrogateescape"))

    def enter(self, line: str) -> None:
        self.type(line + "\n")

    def until(self, text: str) -> str:
        """What is shown up to this text, without what was waited for before."""
        end = time.monotonic() + LIMIT
        while text not in self._shown:
            readable, _, _ = select.select([self._master], [], [], end - time.monotonic())
            assert readable, f"{text!r} does not come: {self._shown!r}"
            self._shown += os.read(self._master, 65536).decode(errors="replace")
            self._shown = self._shown.replace("\r\n", "\n")
        before, _, self._shown = self._shown.partition(text)
        return before

    def prompt(self) -> str:
        return self.until("\n> ")

    def until_line_is_taken(self) -> None:
        """Until the keyboard is not read letter by letter any more."""
        import termios

        while not termios.tcgetattr(self._slave)[3] & termios.ICANON:
            pass

    def leave(self) -> int:
        self.type(CTRL_D)
        return self.process.wait(LIMIT)

    def rest(self) -> str:
        """What is shown and was not waited for."""
        while select.select([self._master], [], [], 0)[0]:
            self._shown += os.read(self._master, 65536).decode(errors="replace")
        return self._shown

    def close(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT)
        os.close(self._slave)
        os.close(self._master)
