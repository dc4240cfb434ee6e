"""Fetches one file: goes on where it was stopped, and keeps it only when it is whole.

models/tiny.gguf          there once all of it is there, and its checksum is right
models/.tiny.gguf.part    what has come so far
models/.tiny.gguf.json    which version of the file that is a part of
models/.tiny.gguf.lock    held while it is fetched
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from waifu_llm.backend import Progress
from waifu_llm.errors import Busy, InstallFailed, InvalidModel, Unavailable
from waifu_llm.models.gguf import read_header
from waifu_llm.models.http import Cut, Opened, open_at
from waifu_llm.models.sources import Source

_BLOCK = 1 << 20
_ATTEMPTS = 5


class Download:
    """One file on its way into the folder."""

    def __init__(self, source: Source, folder: Path, progress: Progress, sha256: str = "") -> None:
        self._source = source
        self._progress = progress
        self._sha256 = sha256.lower()
        self.file = folder / source.name
        self._part = folder / f".{source.name}.part"
        self._known = folder / f".{source.name}.json"
        self._lock = folder / f".{source.name}.lock"

    def run(self) -> bool:
        """Fetch it; whether anything had to be fetched.

        Raises:
            WaifuError: When it cannot be had whole; what came stays, to be gone on with.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._alone(), _disk_full_told(self.file.parent):
            if self.file.exists():
                self._see_that_it_is_right(self.file, self._sha256)
                return False
            self._fetch_all()
        return True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        from filelock import FileLock, Timeout  # only where something is fetched: it takes time

        try:
            with FileLock(self._lock, blocking=False):
                yield
        except Timeout:
            raise Busy(f"Another program is fetching {self._source.name} already.") from None

    def _fetch_all(self) -> None:
        """A connection that breaks is made anew as long as each brings something."""
        failures = 0
        while failures < _ATTEMPTS:
            before = self._size()
            try:
                expected = self._fetch()
                break
            except Cut as cut:
                failures = 0 if self._size() > before else failures + 1
                reason = str(cut)
        else:
            raise Unavailable(f"{self._source.url} cannot be fetched: {reason}. Try again later.")
        self._see_that_it_is_right(self._part, self._sha256 or expected)
        os.replace(self._part, self.file)
        self._known.unlink(missing_ok=True)

    def _fetch(self) -> str:
        """What is missing of it; gives the checksum that the server named, if it named one."""
        opened = open_at(self._source, self._size(), self._version())
        with opened.response as response:
            self._see_that_there_is_room(opened)
            with self._part.open("ab" if opened.begin else "wb") as part:
                self._known.write_text(json.dumps({"version": opened.version}), "utf-8")
                self._copy(response, part, opened)
        if opened.total is not None and self._size() < opened.total:
            raise Cut("the connection ended too early")
        return opened.sha256

    def _copy(self, response: HTTPResponse, part: object, opened: Opened) -> None:
        done = opened.begin
        self._tell(done, opened.total)
        while block := _block_of(response):
            part.write(block)  # type: ignore[attr-defined]
            done += len(block)
            self._tell(done, opened.total)

    def _tell(self, done: int, total: int | None) -> None:
        of = f" of {total / 1e6:.1f}" if total else ""
        fraction = min(1.0, done / total) if total else 0.0
        message = f"Fetching {self._source.name}: {done / 1e6:.1f}{of} MB."
        self._progress("download", fraction, message)

    def _size(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _version(self) -> str:
        """Which version the part is of; without that, it cannot be gone on with."""
        try:
            return str(json.loads(self._known.read_text("utf-8"))["version"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _see_that_there_is_room(self, opened: Opened) -> None:
        missing = (opened.total or 0) - opened.begin
        free = shutil.disk_usage(self.file.parent).free
        if missing > free:
            raise InstallFailed(
                f"The disk is too full for {self._source.name}: {missing / 1e9:.1f} GB are "
                f"missing of it, and {free / 1e9:.1f} GB are free."
            )

    def _see_that_it_is_right(self, file: Path, sha256: str) -> None:
        try:
            if sha256 and (found := self._checksum(file)) != sha256:
                raise InvalidModel(
                    f"{self._source.name} is not what it should be: its checksum is {found}, and "
                    f"should be {sha256}."
                )
            read_header(file)
        except InvalidModel:
            self._part.unlink(missing_ok=True)
            raise

    def _checksum(self, file: Path) -> str:
        self._progress("check", 1.0, f"Checking {self._source.name}.")
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()


def _block_of(response: HTTPResponse) -> bytes:
    try:
        return response.read(_BLOCK)
    except (OSError, HTTPException) as exc:
        raise Cut(str(exc) or type(exc).__name__) from None


@contextmanager
def _disk_full_told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        text = f"The disk of {folder} is full. Free some space; then it goes on where it stopped."
        raise InstallFailed(text) from None
