"""`waifu-llm lock`"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

import click

from waifu_llm import paths, plugins
from waifu_llm.cli.advice import advised
from waifu_llm.cli.options import resolved
from waifu_llm.locks import Locker, LockError, Recipe, keep_own, read
from waifu_llm.paths import bundled_providers
from waifu_llm.plugins import Catalogue
from waifu_llm.specs import LOCK, ProviderSpec


def _names(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    return sorted(name for name in _catalogue().specs if name.startswith(begun))


def _address(_: click.Context, __: click.Parameter, url: str | None) -> str | None:
    """What is wrong is not shown: there may be a password in it."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        raise click.BadParameter("That is no address of an index.") from None
    if parts.scheme not in ("https", "http", "file") or len(url.split()) != 1:
        raise click.BadParameter("An index should begin with https://, http:// or file://.")
    return url


@click.command("lock", short_help="Lock what a provider installs, for this machine alone.")
@click.argument("name", shell_complete=_names)
@click.option(
    "--extra-index",
    metavar="URL",
    callback=_address,
    help="An index that is asked first, such as one of wheels for your GPU.",
)
@click.option("--upgrade", is_flag=True, help="Take the newest versions that fit.")
@click.option("--remove", is_flag=True, help="Go back to the lock that the provider came with.")
def command(name: str, extra_index: str | None, upgrade: bool, remove: bool) -> None:
    """Make a lock of your own of what a provider installs, for this platform and this Python.

    From then on it holds instead of the lock that the provider came with: exact versions, and
    no file but those whose hashes it names. It keeps its extra index until it is removed. Make
    it anew after an update of the module, which may want other versions.

    \b
    Examples:
      waifu-llm lock openai --upgrade
      waifu-llm lock openai --extra-index https://wheels.example/cu130
      waifu-llm lock openai --remove
    """
    if remove and (extra_index or upgrade):
        raise click.UsageError("--remove goes alone.")
    spec, found = _catalogue().find(name), paths.find()
    own = found.locks / spec.installs_as
    if remove:
        _remove(spec, own)
    else:
        _make(spec, own, found.cache, extra_index, upgrade)
    click.echo(
        advised(
            "It holds from the next start of the module on: `waifu-llm serve` then installs "
            f"{spec.title} anew, when it is loaded."
        )
    )


def _catalogue() -> Catalogue:
    """With the locks that the providers came with."""
    settings, found = resolved()
    return plugins.discover(bundled_providers(), found.drop_in_providers, settings.disabled_plugins)


def _make(
    spec: ProviderSpec, own: Path, cache: Path, extra_index: str | None, upgrade: bool
) -> None:
    wanted = spec.home / "requirements.in"
    if not wanted.is_file():
        raise LockError(f"`{spec.name}` has no requirements.in that says what it wants to install.")
    if not spec.python_fits(sys.version_info[:2]):
        raise LockError(f"`{spec.name}` needs Python {spec.python}. Lock it with a newer one.")
    index = extra_index or spec.with_own_lock(own).extra_index
    recipe = Recipe(wanted, own / LOCK, () if index else spec.build)
    locker = Locker(cache, index)
    lock = locker.make_for_here(recipe, upgrade=upgrade)
    if said := locker.try_dry(lock, recipe.built, excludes=recipe.excludes):
        raise LockError(f"What was locked cannot be installed here. {said}")
    keep_own(own, lock, index)
    click.echo(f"{len(read(lock))} packages of {spec.title} are locked in {recipe.lock}.")


def _remove(spec: ProviderSpec, own: Path) -> None:
    if not own.is_dir():
        raise LockError(f"There is no lock of your own for `{spec.name}`.")
    shutil.rmtree(own)
    click.echo(f"The lock that {spec.title} came with holds again.")
