"""Fetches one file: goes on where it was stopped, and keeps it only when it is whole.

What is looked at before it is kept: its checksum, where the server names one or somebody gave it;
how long it is, where the server says so; and always whether the weights that its header names are
there.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO

from waifu_llm.backend import Progress
from waifu_llm.errors import InstallFailed, InvalidModel, Unavailable
from waifu_llm.models.beside import Beside
from waifu_llm.models.gguf import Torn, see_that_it_is_whole
from waifu_llm.models.http import Cut, Opened, open_at
from waifu_llm.models.sources import Source

_BLOCK, _TOLD_EACH = 1 << 18, 1 << 20
_ATTEMPTS = 5
_LATER, _FIRST = re.compile(r"-\d{5}-of-(\d{5})$"), r"-00001-of-\1"


class Download:
    """One file on its way into the folder."""

    def __init__(self, source: Source, folder: Path, progress: Progress, sha256: str = "") -> None:
        self._source = source
        self._progress = progress
        self._sha256 = sha256.lower()
        self.file = folder / source.name
        self._beside = Beside(self.file)

    def run(self) -> bool:
        """Fetch it; whether anything had to be fetched.

        Raises:
            WaifuError: When it cannot be had whole; what came stays, to be gone on with.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._beside.alone(), self._disk_full_told():
            if self.file.exists():
                self._see_that_it_is_the_one()
                return False
            self._fetch_all()
        return True

    @property
    def next_time(self) -> str:
        """What the next download does with what came."""
        if self._version():
            return "The next download goes on from there, if the server can send the rest alone."
        if self._beside.came():
            return (
                "The next download begins anew: the server does not tell whether the file is still "
                "the same."
            )
        return "Try again later."

    @property
    def doubt(self) -> str:
        """Why the file that is there already may be another one; "" where it is not."""
        if self._sha256 or self._came_from() == self._source.shown:
            return ""
        return (
            f"Nobody knows whether {self.file} came from {self._source.shown}. `--sha256` compares "
            "it; to fetch it from there, delete it first."
        )

    # One that is there

    def _see_that_it_is_the_one(self) -> None:
        """By its checksum, else by where it came from."""
        delete = f"`waifu-llm models delete {_LATER.sub(_FIRST, self.file.stem)}`"
        known = self._came_from()
        if self._sha256:
            what = f"{self.file} is there already, and another one ({delete} removes it)"
            self._compare(self.file, self._sha256, what)
        elif known and known != self._source.shown:
            raise InvalidModel(
                f"{self.file} is there already, and came from {known}. Rename it or delete it "
                f"first ({delete}), or give `--sha256` to compare it."
            )
        try:
            see_that_it_is_whole(self.file)
        except InvalidModel as error:
            raise InvalidModel(f"{error.message} Before that, {delete} removes it.") from None

    def _came_from(self) -> str:
        """Nothing is known of a file that was put there by hand, or replaced since."""
        known = self._beside.remembered()
        ours = known.get("bytes") == self.file.stat().st_size
        return str(known.get("source", "")) if ours else ""

    # One that is to come

    def _fetch_all(self) -> None:
        """A connection that breaks is made anew as long as each brings something."""
        failures = 0
        while failures < _ATTEMPTS:
            before = self._beside.came()
            try:
                expected = self._fetch()
                break
            except Cut as cut:
                failures = 0 if self._beside.came() > before else failures + 1
                reason = str(cut)
        else:
            text = f"{self._source.shown} cannot be fetched: {reason}. {self.next_time}"
            raise Unavailable(text)
        self._keep(self._sha256 or expected)

    def _fetch(self) -> str:
        """What is missing of it; gives the checksum that the server named, if it named one."""
        came = self._beside.came()
        opened = open_at(self._source, came, self._version())
        with opened.response as response:
            self._see_that_it_is_wanted(opened)
            self._see_that_there_is_room(opened)
            if came and not opened.begin:
                self._progress("anew", 0.0, f"{self._source.name} begins anew.")
            with self._beside.part.open("ab" if opened.begin else "wb") as part:
                self._remember(version=opened.version)
                self._copy(response, part, opened)
        self._see_that_it_ended(opened)
        return opened.sha256

    def _copy(self, response: HTTPResponse, part: BinaryIO, opened: Opened) -> None:
        done = told = opened.begin
        self._tell(done, opened.total)
        while block := _block_of(response):
            part.write(block)
            done += len(block)
            if done - told >= _TOLD_EACH:
                self._tell(done, opened.total)
                told = done
        self._tell(done, opened.total)

    def _tell(self, done: int, total: int | None) -> None:
        of = f" of {total / 1e6:.1f}" if total else ""
        fraction = min(1.0, done / total) if total else 0.0
        message = f"Fetching {self._source.name}: {done / 1e6:.1f}{of} MB."
        self._progress("download", fraction, message)

    def _version(self) -> str:
        """Which version the part is of; without that, it cannot be gone on with."""
        known = self._beside.remembered()
        ours = self._beside.came() and known.get("source") == self._source.shown
        return str(known.get("version", "")) if ours else ""

    def _see_that_it_is_wanted(self, opened: Opened) -> None:
        if self._sha256 and opened.sha256 and self._sha256 != opened.sha256:
            raise InvalidModel(
                f"{self._source.name} is not the one that you want: the server says that its "
                f"checksum is {opened.sha256}."
            )

    def _see_that_there_is_room(self, opened: Opened) -> None:
        missing = (opened.total or 0) - opened.begin
        free = shutil.disk_usage(self.file.parent).free
        if missing > free:
            raise InstallFailed(
                f"The disk is too full for {self._source.name}: {missing / 1e9:.1f} GB are "
                f"missing of it, and {free / 1e9:.1f} GB are free."
            )

    def _see_that_it_ended(self, opened: Opened) -> None:
        """Where the server did not say how long it is, a connection that broke looks like its end:
        then the file itself must tell."""
        if opened.total is not None:
            torn = self._beside.came() < opened.total
        else:
            torn = _is_torn(self._beside.part)
        if torn:
            raise Cut("the connection ended too early")

    def _keep(self, sha256: str) -> None:
        try:
            what = f"{self._source.name} is not what it should be"
            self._compare(self._beside.part, sha256, what)
            see_that_it_is_whole(self._beside.part)
        except InvalidModel:
            self._beside.clear()
            raise
        self._remember(version=self._version(), bytes=self._beside.came())
        os.replace(self._beside.part, self.file)

    def _remember(self, **more: str | int) -> None:
        self._beside.remember(source=self._source.shown, **more)

    def _compare(self, file: Path, sha256: str, what: str) -> None:
        if not sha256:
            return
        self._progress("check", 1.0, f"Checking {self._source.name}.")
        if (found := checksum(file)) != sha256:
            raise InvalidModel(f"{what}: its checksum is {found}, and should be {sha256}.")

    @contextmanager
    def _disk_full_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            text = f"The disk of {self.file.parent} is full. Free some space. {self.next_time}"
            raise InstallFailed(text) from None


def checksum(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _block_of(response: HTTPResponse) -> bytes:
    """Whatever has arrived: who stops a slow download keeps all that came."""
    try:
        return response.read1(_BLOCK)
    except (OSError, HTTPException) as exc:
        raise Cut(str(exc) or type(exc).__name__) from None


def _is_torn(file: Path) -> bool:
    try:
        see_that_it_is_whole(file)
    except Torn:
        return True
    except InvalidModel:
        return False  # it will be refused, and need not be fetched again
    return False
