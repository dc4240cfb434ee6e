"""One provider's environments on disk. Nothing is installed here.

    provider_envs/groq/current.json        which folder is valid, and for what it was made
    provider_envs/groq/1f0c…-9a3e…/        that folder; an environment never moves
    provider_envs/groq/1f0c…/complete      written once all of it is there and was tried
    provider_envs/groq/1f0c…/in-use-…      held locked by each process that uses it
    provider_envs/groq/.lock               held while one is made or removed; never deleted

`current.json` is replaced last. Whatever ends a making half-way leaves no valid environment.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

_COMPLETE = "complete"
_USED = "last-used"
_LOCK_POLL_SECONDS = 0.1


class Place:
    """What is kept of one provider."""

    def __init__(self, root: Path, name: str) -> None:
        self.name = name
        self.folder = root / name

    # What is there

    def valid(self, stamp: Mapping[str, str]) -> Path | None:
        """The environment that is valid for this stamp, if one is."""
        current = self.current()
        if current and current["stamp"] == stamp:
            folder = self.folder / current["folder"]
            return folder if interpreter(folder).exists() else None
        return None

    def current(self) -> dict[str, Any] | None:
        try:
            current = json.loads((self.folder / "current.json").read_text("utf-8"))
            return {"folder": str(current["folder"]), "stamp": current["stamp"]}
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def complete(self) -> list[Path]:
        """All environments that were once valid, and may still be used."""
        return [each for each in self._folders() if (each / _COMPLETE).exists()]

    def made_for(self, stamp: Mapping[str, str]) -> Path | None:
        """One that was made for this stamp, though another is current: a Python that came back."""
        for folder in self.complete():
            if _read(folder / _COMPLETE) == json.dumps(stamp) and interpreter(folder).exists():
                return folder
        return None

    def python_of(self, folder: Path) -> str:
        """The version that it was made for."""
        with suppress(ValueError, KeyError, TypeError):
            return str(json.loads(_read(folder / _COMPLETE))["python"]).partition(" ")[0]
        return ""

    def _folders(self) -> list[Path]:
        with suppress(FileNotFoundError):
            return sorted(each for each in self.folder.iterdir() if each.is_dir())
        return []

    # What changes

    @asynccontextmanager
    async def locked(self, on_wait: Callable[[], None]) -> AsyncIterator[None]:
        """Alone, among all programs. `on_wait` is called when another is at work."""
        from filelock import FileLock, Timeout  # only where something is made: it takes time

        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".lock", thread_local=False)
        while True:
            try:
                lock.acquire(blocking=False)
                break
            except Timeout:
                on_wait()
                await asyncio.sleep(_LOCK_POLL_SECONDS)
        try:
            yield
        finally:
            lock.release()

    def new_folder(self, stamp: Mapping[str, str]) -> Path:
        """A name that was never used: an installer that outlived its core may still write there."""
        made_for = hashlib.sha256(json.dumps(stamp, sort_keys=True).encode()).hexdigest()[:12]
        return self.folder / f"{made_for}-{secrets.token_hex(4)}"

    def declare_valid(self, folder: Path, stamp: Mapping[str, str]) -> None:
        (folder / _COMPLETE).write_text(json.dumps(stamp), "utf-8")
        draft = self.folder / "current.json.new"
        draft.write_text(json.dumps({"folder": folder.name, "stamp": stamp}, indent=1), "utf-8")
        os.replace(draft, self.folder / "current.json")

    def forget_current(self) -> None:
        (self.folder / "current.json").unlink(missing_ok=True)

    def remove_half_made(self) -> list[Removed]:
        half = [each for each in self._folders() if not (each / _COMPLETE).exists()]
        return [remove(folder) for folder in half]

    def remove_unused(self) -> list[Removed]:
        """Remove what is neither current nor in use."""
        current = self.current()
        kept = current["folder"] if current else None
        idle = [each for each in self.complete() if each.name != kept and not is_in_use(each)]
        return [remove(folder) for folder in idle]


def interpreter(folder: Path) -> Path:
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


class Removed(NamedTuple):
    """A folder that is gone, and the bytes that are free now."""

    folder: Path
    bytes: int

    @property
    def provider(self) -> str:
        return self.folder.parent.name


def remove(folder: Path) -> Removed:
    """Without its mark first: what is left when this is stopped counts as half-made."""
    removed = Removed(folder, sum(_own_bytes(folder)))
    (folder / _COMPLETE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    return removed


# Who uses it


def hold(folder: Path) -> Any:
    """A lock that the system takes back when this process ends, however it does."""
    from filelock import FileLock

    lock = FileLock(folder / f"in-use-{os.getpid()}-{secrets.token_hex(4)}", thread_local=False)
    lock.acquire(blocking=False)
    (folder / _USED).touch()
    return lock


def is_in_use(folder: Path) -> bool:
    return any(_is_locked(file) for file in folder.glob("in-use-*"))


def _is_locked(file: Path) -> bool:
    """One that is not was left by a process that ended, and is removed."""
    from filelock import FileLock, Timeout

    lock = FileLock(file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    file.unlink(missing_ok=True)
    return False


def last_used(folder: Path) -> float | None:
    """Seconds since the epoch."""
    with suppress(OSError):
        return (folder / _USED).stat().st_mtime
    return None


# How large it is


def files_of(folder: Path) -> Iterator[tuple[tuple[int, int], int]]:
    """Each file as the system knows it, and its bytes: one with two names is one file."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                status = os.lstat(os.path.join(parent, name))
                yield (status.st_dev, status.st_ino), _bytes_of(status)


def _own_bytes(folder: Path) -> Iterator[int]:
    """Of files that lie nowhere else."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                status = os.lstat(os.path.join(parent, name))
                yield _bytes_of(status) if status.st_nlink == 1 else 0


def _bytes_of(status: os.stat_result) -> int:
    blocks = getattr(status, "st_blocks", None)
    return status.st_size if blocks is None else blocks * 512


def _read(file: Path) -> str:
    with suppress(OSError):
        return file.read_text("utf-8")
    return ""
