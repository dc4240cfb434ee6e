"""What a provider's process writes to stderr: its last words, and all of it in a file that rotates.

Lines are cleaned of secrets while they are whole, and then cut: no cut can hide half of a secret.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from waifu_llm.redaction import Redactor

MAX_FILE = 2 * 1024 * 1024
OLD_FILES = 3
MAX_LINE = 8 * 1024
_KEPT = 64 * 1024
_UNFINISHED = 4 * MAX_LINE

log = logging.getLogger("waifu_llm.provider_log")


class LogFile:
    """One provider's file, `groq.log`; older ones are `groq.log.1` to `groq.log.3`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._gave_up = False

    def write(self, text: str) -> None:
        """Add lines. A disk that takes nothing costs the log, and nothing else."""
        try:
            self._add(text.encode("utf-8", "replace"))
            self._gave_up = False
        except OSError as exc:
            if not self._gave_up:
                log.warning("cannot write %s: %s", self._path, exc)
            self._gave_up = True

    def _add(self, data: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab", buffering=0) as file:
            full = file.tell() > MAX_FILE
            if not full:
                file.write(data)
        if full:
            self._rotate()
            self._add(data)

    def _rotate(self) -> None:
        for number in range(OLD_FILES, 0, -1):
            older = self._numbered(number - 1) if number > 1 else self._path
            if older.exists():
                os.replace(older, self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class ProviderLog:
    """One process's stderr on its way into the file."""

    def __init__(self, file: LogFile, redactor: Redactor) -> None:
        self.pid = 0
        self._file = file
        self._redactor = redactor
        self._unfinished = b""
        self._kept = ""

    def feed(self, data: bytes) -> None:
        *lines, rest = (self._unfinished + data).split(b"\n")
        self._unfinished = rest[-_UNFINISHED:]
        if lines:
            self._keep(lines)

    def end(self) -> None:
        """Nothing more comes: what has no line's end is a line as well."""
        if self._unfinished:
            self._keep([self._unfinished])
            self._unfinished = b""

    def last_words(self, length: int) -> str:
        return self._kept.rstrip()[-length:].lstrip()

    def note(self, text: str) -> None:
        """A line of ours among the provider's."""
        self._file.write(self._stamped(f"-- {text}"))

    def _keep(self, lines: list[bytes]) -> None:
        """Of a very long line, the end: what went wrong stands there."""
        whole = self._redactor.clean(b"\n".join(lines).decode("utf-8", "replace"))
        cut = [line[-MAX_LINE:] for line in whole.split("\n")]
        self._kept = (self._kept + "\n".join(cut) + "\n")[-_KEPT:]
        self._file.write("".join(self._stamped(line) for line in cut))

    def _stamped(self, line: str) -> str:
        return f"{time.strftime('%Y-%m-%d %H:%M:%S')} {self.pid} {line}\n"
