"""One virtual environment for each provider, made when it is first wanted.

`place.py` says how they lie on disk, `installer.py` fills them, `making.py` is one installation.
"""

from __future__ import annotations

import platform
import shutil
import sys
import sysconfig
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from waifu_llm.backend import Progress
from waifu_llm.environments import bytecode, place
from waifu_llm.environments.causes import cause_of
from waifu_llm.environments.installer import Installer
from waifu_llm.environments.making import Making
from waifu_llm.environments.place import Place, Removed, interpreter
from waifu_llm.environments.possible import see_that_it_can_be_made
from waifu_llm.errors import Busy, InstallFailed, NotInstalled
from waifu_llm.specs import ProviderSpec


def _no_wait() -> None: ...


class Installed(Struct, frozen=True):
    """What is known of one environment."""

    provider: str
    folder: Path
    python: str
    is_current: bool
    in_use: bool
    last_used: float | None
    bytes: int
    own_bytes: int
    """of files that no other environment has too"""


class Environments:
    """All environments below one folder."""

    def __init__(
        self, root: Path, cache: Path, *, auto_install: bool = True, wheels: Path | None = None
    ) -> None:
        self._root = root
        self._cache = cache
        self._auto_install = auto_install
        self._installer = Installer(cache, wheels)
        self._makings: dict[str, Making] = {}
        self._held: dict[Path, Any] = {}

    # For who runs a provider

    def find(self, spec: ProviderSpec) -> Path | None:
        """The interpreter of a valid environment, if there is one."""
        folder = Place(self._root, spec.installs_as).valid(stamp_of(spec))
        return interpreter(folder) if folder else None

    async def ensure(self, spec: ProviderSpec, progress: Progress) -> Path:
        """The interpreter to run this provider with, made first where it must be. Its environment
        is in use from then on, until this process ends.

        Raises:
            NotInstalled: When it would have to be made and that is turned off.
            InstallFailed: When it cannot be made; says what the installer said.
        """
        if python := self._use(spec):
            return python
        if not self._auto_install:
            raise NotInstalled(
                f"`{spec.name}` is not installed, and `auto_install` is off. "
                f"Run `waifu-llm install {spec.name}`."
            )
        await self.install(spec, progress)
        if python := self._use(spec):
            return python
        raise InstallFailed(f"The environment of `{spec.name}` was removed as soon as it was made.")

    async def install(self, spec: ProviderSpec, progress: Progress) -> None:
        """Make it, unless it is valid. All who ask at a time share one making; it ends when the
        last of them leaves.

        Raises:
            InstallFailed: When it cannot be made; says what the installer said.
        """
        making = self._makings.get(spec.installs_as)
        if making is None or making.is_over:
            making = Making(lambda tell: self._install(spec, tell))
            self._makings[spec.installs_as] = making
        await making.wait(progress)

    def _use(self, spec: ProviderSpec) -> Path | None:
        """Whoever removes it looks for holders first; so we hold it first, then look again."""
        found, stamp = Place(self._root, spec.installs_as), stamp_of(spec)
        folder = found.valid(stamp)
        if folder and folder not in self._held:
            with suppress(OSError):  # of another user: it is not ours to remove either
                self._held[folder] = place.hold(folder)
        return interpreter(folder) if folder and found.valid(stamp) == folder else None

    async def _install(self, spec: ProviderSpec, tell: Progress) -> None:
        found, stamp = Place(self._root, spec.installs_as), stamp_of(spec)
        waiting = f"Waiting: another program installs {spec.title}."
        try:
            async with found.locked(lambda: tell("environment", 0.0, waiting)):
                if not found.valid(stamp):
                    await self._make(spec, found, stamp, tell)
        except OSError as exc:
            why = f"{exc}. {cause_of(str(exc))}".strip()
            raise InstallFailed(f"Cannot install `{spec.name}`: {why}") from exc

    async def _make(
        self, spec: ProviderSpec, found: Place, stamp: dict[str, str], tell: Progress
    ) -> None:
        see_that_it_can_be_made(spec, found.folder)
        found.remove_half_made()
        folder = found.made_for(stamp)
        if folder is None or not await self._still_works(spec, folder, tell):
            folder = found.new_folder(stamp)
            await self._fill(spec, folder, tell)
        found.declare_valid(folder, stamp)
        found.remove_unused()
        tell("probe", 1.0, f"{spec.title} is installed.")

    async def _still_works(self, spec: ProviderSpec, folder: Path, tell: Progress) -> bool:
        try:
            await self._installer.probe(spec, folder, tell)
        except InstallFailed:
            return False
        return True

    async def _fill(self, spec: ProviderSpec, folder: Path, tell: Progress) -> None:
        try:
            await self._installer.fill(spec, folder, tell)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    # For who looks after them

    def installed(self) -> list[Installed]:
        """Every environment, with what it takes on the disk."""
        places = [Place(self._root, name) for name in self._names()]
        files = {
            folder: dict(place.files_of(folder)) for each in places for folder in each.complete()
        }
        return [_installed(each, folder, files) for each in places for folder in each.complete()]

    def total_bytes(self) -> int:
        """What they take, with what is kept for the next ones. What several have counts once."""
        files = dict(place.files_of(self._root)) | dict(place.files_of(self._cache))
        return sum(files.values())

    async def remove(self, name: str, on_wait: Callable[[], None] = _no_wait) -> list[Removed]:
        """Remove all environments of one provider. `on_wait` is called when one is being made.

        Raises:
            Busy: When a running module uses one of them.
        """
        found = Place(self._root, name)
        if not found.folder.is_dir():
            return []
        async with found.locked(on_wait):
            folders = found.complete()
            if any(place.is_in_use(folder) for folder in folders):
                raise Busy(
                    f"`{name}` is in use by a running module. Stop that first: Ctrl-C where it "
                    "runs ends it."
                )
            found.forget_current()
            return [*map(place.remove, folders), *found.remove_half_made()]

    async def prune(
        self, wanted: set[str], on_wait: Callable[[], None] = _no_wait
    ) -> list[Removed]:
        """Remove what is of no use: half-made ones, replaced ones, and those of providers that
        are not among the wanted. What is in use stays."""
        removed: list[Removed] = []
        for name in self._names():
            found = Place(self._root, name)
            async with found.locked(on_wait):
                if name not in wanted:
                    found.forget_current()
                removed += [*found.remove_half_made(), *found.remove_unused()]
        bytecode.forget_unused(self._cache / "bytecode")
        return removed

    def _names(self) -> list[str]:
        with suppress(FileNotFoundError):
            return sorted(each.name for each in self._root.iterdir() if each.is_dir())
        return []


def stamp_of(spec: ProviderSpec) -> dict[str, str]:
    """All that an environment depends on. Another value of any of it, and it is made anew."""
    return {
        "lock": spec.lock_hash(),
        "python": f"{platform.python_version()} {Path(sys.executable).resolve()}",
        "platform": sysconfig.get_platform(),
    }


def _installed(
    found: Place, folder: Path, files: dict[Path, dict[tuple[int, int], int]]
) -> Installed:
    current = found.current()
    own = files[folder].keys() - {
        file for other in files if other != folder for file in files[other]
    }
    return Installed(
        provider=found.name,
        folder=folder,
        python=found.python_of(folder),
        is_current=current is not None and current["folder"] == folder.name,
        in_use=place.is_in_use(folder),
        last_used=place.last_used(folder),
        bytes=sum(files[folder].values()),
        own_bytes=sum(files[folder][file] for file in own),
    )
