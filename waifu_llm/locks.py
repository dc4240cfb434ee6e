"""Locks: what a provider wants, made into what it gets, by uv.

    requirements.in -> requirements.lock    exact versions, with the hashes of all their files
    build.in        -> build.lock           the same for the tools that build what has no wheels

What a library asks for and we never come to use is left out: `requirements.excludes` names it.

The lock of a bundled provider holds for every platform and Python that stand here, and is tried
dry for each of them: uv needs neither those machines nor their Pythons to see whether every wheel
is there. While it tries it compares no hashes. So a lock is right only when making it anew from
its own versions changes nothing in it, and every trial passes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from waifu_llm.environments.installer import uv
from waifu_llm.environments.sources import uv_environ, uv_options, with_index
from waifu_llm.errors import InstallFailed
from waifu_llm.redaction import Redactor
from waifu_llm.specs import INDEX, LOCK, ProviderSpec

PLATFORMS = {
    "Linux x86-64": "x86_64-unknown-linux-gnu",
    "Linux arm64": "aarch64-unknown-linux-gnu",
    "macOS arm64": "aarch64-apple-darwin",
    "macOS x86-64": "x86_64-apple-darwin",
    "Windows x86-64": "x86_64-pc-windows-msvc",
}
"""Our names of the platforms, and uv's."""
PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))

_MARKER = r" ; [\w .'()<>=!~]*[')]"
_VERSION = rf"[A-Za-z0-9][\w.-]*==[\w.!+]+(?:{_MARKER})?"
_LINE = re.compile(rf"(?P<version>{_VERSION})(?P<hashes>(?:\s+--hash=sha256:[0-9a-f]{{64}})+)")


class LockError(InstallFailed):
    """A lock that cannot be made or used: says why."""


@dataclass(frozen=True)
class Target:
    """A kind of machine that a lock holds for."""

    platform: str
    python: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.platform}, Python {_dotted(self.python)}"

    @property
    def options(self) -> list[str]:
        python = _dotted(self.python)
        return ["--python-platform", PLATFORMS[self.platform], "--python-version", python]


@dataclass(frozen=True)
class Recipe:
    """What a lock is made of, and which of it has to be built from source."""

    wanted: Path
    lock: Path
    built: tuple[str, ...] = ()
    left_out: Path | None = None
    """A file of packages that are asked for and not needed."""

    @property
    def excludes(self) -> list[str]:
        return ["--excludes", str(self.left_out)] if self.left_out else []


def recipes(spec: ProviderSpec) -> list[Recipe]:
    """The locks that a provider comes with; one that wants nothing has none.

    Raises:
        LockError: When it wants something built, and says not with what.
    """
    wanted, tools = spec.home / "requirements.in", spec.home / "build.in"
    if spec.build and not tools.is_file():
        raise LockError(f"`{spec.name}` wants something built: its tools should be in {tools}.")
    unneeded = spec.home / "requirements.excludes"
    left_out = unneeded if unneeded.is_file() else None
    found = [
        Recipe(wanted, spec.home / LOCK, spec.build, left_out),
        Recipe(tools, spec.build_lock_file),
    ]
    return [recipe for recipe in found if recipe.wanted.is_file()]


def targets(spec: ProviderSpec) -> list[Target]:
    """Every machine that a bundled lock is for, on the Pythons that the provider runs on.

    Raises:
        LockError: When it runs on none.
    """
    pythons = [python for python in PYTHONS if spec.python_fits(python)]
    if not pythons:
        raise LockError(f"`{spec.name}` needs Python {spec.python}, and no lock is made for that.")
    return [Target(platform, python) for platform in PLATFORMS for python in pythons]


def read(lock: str) -> dict[str, frozenset[str]]:
    """The versions in a lock with their hashes.

    Raises:
        LockError: When something else stands in it, or something without a hash.
    """
    versions = {}
    for line in filter(str.strip, lock.replace("\\\n", " ").splitlines()):
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise LockError(f"This is no exact version with its hashes: {line.strip()}")
        versions[match["version"]] = frozenset(match["hashes"].split())
    return versions


def difference(lock: str, anew: str) -> str:
    """What making the lock anew changes in it, in words; nothing where it is right."""
    if lock == anew:
        return ""
    before, after = read(lock), read(anew)
    changes = [f"without {each}" for each in before.keys() - after.keys()]
    changes += [f"with {each}" for each in after.keys() - before.keys()]
    both = before.keys() & after.keys()
    changes += [f"with other hashes of {each}" for each in both if before[each] != after[each]]
    return ", ".join(sorted(changes)) or "in another order"


class Locker:
    """Has uv make locks and try them. It gets the operator's settings, and no key."""

    def __init__(self, cache: Path, extra_index: str = "") -> None:
        self._uv = uv()
        if self._uv is None:
            raise LockError(
                "Locks are made by uv, and it is not here. Install it with "
                "`pip install uv`, or install waifu-llm with its extra `fast`."
            )
        environ = with_index(uv_environ(os.environ), "UV_INDEX", extra_index)
        self._environ = {**environ, "UV_CACHE_DIR": str(cache / "uv")}
        self._redactor = Redactor(_secrets(extra_index))

    def make_for(self, machines: Sequence[Target], recipe: Recipe, *, upgrade: bool) -> str:
        """A lock for all of these machines at once."""
        oldest = min(each.python for each in machines)
        return self._make(recipe, upgrade, ["--universal", "--python-version", _dotted(oldest)])

    def make_for_here(self, recipe: Recipe, *, upgrade: bool) -> str:
        """A lock for this platform and this Python alone."""
        return self._make(recipe, upgrade, [])

    def _make(self, recipe: Recipe, upgrade: bool, options: Sequence[str]) -> str:
        """The versions of the former lock hold where they fit. Hashes are always asked anew.

        Raises:
            LockError: When uv finds nothing that fits, or what it found cannot stand in a lock.
        """
        form = ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
        with tempfile.TemporaryDirectory() as folder:
            lock = Path(folder, LOCK)
            lock.write_text("" if upgrade else _versions(recipe.lock), "utf-8")
            command = ["compile", str(recipe.wanted), "--output-file", str(lock)]
            more = ["--generate-hashes", *form, *_only_wheels(recipe.built), *options]
            more += recipe.excludes
            if said := self._run(folder, *command, *more):
                raise LockError(f"{recipe.wanted}: {said}")
            made = lock.read_text("utf-8")
        read(made)
        return made

    def try_dry(
        self,
        lock: str,
        built: Sequence[str] = (),
        target: Target | None = None,
        excludes: Sequence[str] = (),
    ) -> str:
        """What uv says against installing it there, or here; nothing where it would work.

        Dependencies are followed, so that one which the lock lacks is missed here and not later.
        """
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, LOCK)
            file.write_text(lock, "utf-8")
            command = ["install", "--dry-run", "--target", str(Path(folder, "nothing"))]
            more = [
                *excludes,
                "--require-hashes",
                *_only_wheels(built),
                *(target.options if target else []),
            ]
            return self._run(folder, *command, *more, "-r", str(file))

    def _run(self, folder: str, *arguments: str) -> str:
        """What went wrong. The folder is empty but for the lock: no project's settings hold."""
        options = ["--quiet", *uv_options(os.environ)]
        done = subprocess.run(
            [str(self._uv), "pip", *arguments, *options, "--python", sys.executable],
            cwd=folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        said = " ".join(done.stdout.decode("utf-8", "replace").split())
        return self._redactor.clean(said or "uv failed.") if done.returncode else ""


def keep_own(folder: Path, lock: str, index: str) -> None:
    """Keep a lock of the operator's own. First the index, which it cannot be installed without."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if index:
        _write_private(folder / INDEX, f"{index}\n")
    _write_private(folder / LOCK, lock)


def _write_private(file: Path, text: str) -> None:
    """Nobody else may read it, also while it is written, and it is never there half."""
    draft = file.with_name(f"{file.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as opened:
        opened.write(text)
    os.replace(draft, file)


def _dotted(python: tuple[int, int]) -> str:
    return ".".join(str(part) for part in python)


def _only_wheels(built: Sequence[str]) -> list[str]:
    """What is built gets no isolated environment: that would be filled with what nobody locked."""
    sources = [option for name in built for option in ("--no-binary", name)]
    return ["--only-binary", ":all:", *sources, *(["--no-build-isolation"] if built else [])]


def _versions(lock: Path) -> str:
    """The exact versions alone; a lock that was torn gives those that can be read."""
    text = lock.read_text("utf-8", "replace") if lock.is_file() else ""
    return "\n".join(re.findall(f"^{_VERSION}", text, re.MULTILINE))


def _secrets(address: str) -> list[str]:
    """The password in an address; some indexes take a token in the place of the name."""
    parts = urlsplit(address)
    written = parts.password or parts.username
    return [written, unquote(written)] if written else []
