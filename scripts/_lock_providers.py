"""What `scripts/lock-providers` does, once the environment is there that it needs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from waifu_llm import paths
from waifu_llm.errors import WaifuError
from waifu_llm.locks import Locker, LockError, Recipe, Target, difference, recipes, targets
from waifu_llm.specs import ProviderSpec

DESCRIPTION = """Make what each provider's requirements.in wants into its requirements.lock, and
its build.in into its build.lock, and try them dry for every platform and Python. Versions stay
where they fit."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/lock-providers", description=DESCRIPTION)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a provider; else all of them")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--check", action="store_true", help="change nothing; say what is not right")
    how.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    parser.add_argument("--folder", type=Path, help="where the providers are; else the bundled")
    options = parser.parse_args(arguments)
    folder = options.folder or paths.bundled_providers()
    there = sorted(file.parent.name for file in folder.glob("*/provider.toml"))
    for name in options.names:
        if name not in there:
            parser.error(f"there is no provider {name} in {folder}")
    return _settle_all([folder / name for name in options.names or there], options)


def _settle_all(folders: list[Path], options: argparse.Namespace) -> int:
    """Exit status: 0 when every lock is right, else 1."""
    try:
        locker = Locker(paths.find().cache)
    except LockError as exc:
        sys.exit(f"waifu-llm: {exc}")
    right = True
    for folder in folders:
        for complaint in _settle(folder, locker, options):
            right = False
            print(f"{folder.name}: {complaint}", flush=True)
    return 0 if right else 1


def _settle(folder: Path, locker: Locker, options: argparse.Namespace) -> Iterator[str]:
    """Bring one provider in order; gives what is not."""
    try:
        spec = ProviderSpec.declared(folder)
        wanted, machines = recipes(spec), targets(spec)
    except WaifuError as exc:
        yield exc.message
        return
    if not wanted:
        print(f"{folder.name}: needs nothing", flush=True)
    for recipe in wanted:
        yield from _settle_lock(recipe, machines, locker, options)


def _settle_lock(
    recipe: Recipe, machines: list[Target], locker: Locker, options: argparse.Namespace
) -> Iterator[str]:
    """A lock that fails a trial is not written: what stood there may still work."""
    try:
        lock = locker.make_for(machines, recipe, upgrade=options.upgrade)
        changes = difference(_text(recipe.lock), lock) if options.check else ""
    except LockError as exc:
        yield f"{recipe.lock.name}: {exc.message}"
        return
    complaints = [f"made anew it is {changes}"] if changes else []
    for machine in machines:
        if said := locker.try_dry(lock, recipe.built, machine, recipe.excludes):
            complaints.append(f"for {machine}: {said}")
    yield from (f"{recipe.lock.name}: {each}" for each in complaints)
    if complaints:
        return
    if not options.check:
        recipe.lock.write_text(lock, "utf-8", newline="\n")
    name = f"{recipe.lock.parent.name}: {recipe.lock.name}"
    print(f"{name} is right, tried for {len(machines)} kinds of machines", flush=True)


def _text(lock: Path) -> str:
    return lock.read_text("utf-8", "replace") if lock.is_file() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
