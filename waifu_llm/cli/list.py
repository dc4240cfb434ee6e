"""`waifu-llm list`"""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from typing import Any

import click

from waifu_llm.cli.address import module_url
from waifu_llm.cli.here import Here, look_around
from waifu_llm.cli.install import json_option
from waifu_llm.cli.reach import connected
from waifu_llm.cli.sizes import ago, megabytes
from waifu_llm.cli.terminal import harmless
from waifu_llm.environments import Installed
from waifu_llm.errors import WaifuError
from waifu_llm.profiles import Profile
from waifu_llm.specs import ProviderSpec

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_WANTED = re.compile(r"^([A-Za-z0-9._-]+)", re.MULTILINE)


@click.command("list", short_help="List the providers, and what is installed of them.")
@json_option
def command(as_json: bool) -> None:
    """List the profiles and all providers: what is installed of each, which versions, how large,
    when it was used.

    Files that environments share are on the disk once, and counted once in the sum. A provider is
    installed when it is first loaded, or by `waifu-llm install`. Providers of your own go into the
    folder `providers` of the module's home, one folder each.

    \b
    Examples:
      waifu-llm list
      waifu-llm list --json
    """
    here = look_around()
    known, loaded = here.environments.installed(), asyncio.run(_loaded())
    specs = sorted(here.catalogue.specs.values(), key=lambda spec: spec.name)
    rows = [_row(here, spec, known, loaded) for spec in specs]
    total = here.environments.total_bytes()
    if as_json:
        profiles = [_profile(*each) for each in sorted(here.stored.profiles.items())]
        listed = {"providers": rows, "profiles": profiles, "broken": here.catalogue.broken}
        click.echo(json.dumps({**listed, "total_bytes": total}, indent=2))
    else:
        _show(here, rows, total)


async def _loaded() -> set[str] | None:
    """The names of what a running module has loaded; None where none answers."""
    try:
        async with connected(module_url(None), None, "cli") as client:
            return {load["provider"] for load in (await client.status())["loads"]}
    except (WaifuError, OSError):
        return None


def _row(
    here: Here, spec: ProviderSpec, known: list[Installed], loaded: set[str] | None
) -> dict[str, Any]:
    environments = [each for each in known if each.provider == spec.installs_as]
    used = [each.last_used for each in environments if each.last_used]
    return {
        "name": spec.name,
        "title": spec.title,
        "kind": spec.kind,
        "from": here.catalogue.origin(spec.name),
        "folder": str(spec.folder),
        "installed": here.environments.find(spec) is not None,
        "outdated": bool(environments) and here.environments.find(spec) is None,
        "loaded": None if loaded is None else spec.name in loaded,
        "versions": versions_of(spec),
        "own_lock": spec.own_lock is not None,
        "bytes": sum(each.bytes for each in environments),
        "own_bytes": sum(each.own_bytes for each in environments),
        "last_used": datetime.fromtimestamp(max(used), UTC).isoformat() if used else None,
    }


def _profile(name: str, profile: Profile) -> dict[str, Any]:
    return {
        "name": name,
        "provider": profile.provider,
        "model": profile.model or None,
        "key": profile.key,
    }


def versions_of(spec: ProviderSpec) -> dict[str, str]:
    """The locked versions of what the provider itself asks for."""
    pinned = dict(_PINNED.findall(spec.lock_text()))
    file = spec.home / "requirements.in"
    wanted = _WANTED.findall(file.read_text("utf-8")) if file.is_file() else list(pinned)
    return {name: pinned[name] for name in wanted if name in pinned}


def _show(here: Here, rows: list[dict[str, Any]], total: int) -> None:
    for row in rows:
        click.echo(f"{row['name']:<18} {row['kind']:<6} {_state(row):<14} {harmless(row['title'])}")
        if row["bytes"]:
            click.echo(f"{'':<26}{_details(row)}")
    for name, profile in sorted(here.stored.profiles.items()):
        model = f", model {profile.model}" if profile.model else ""
        click.echo(f"{name:<16} profile of {profile.provider}{model}")
    click.echo(f"All environments and the cache of packages take {megabytes(total)}.")
    for name, why in here.catalogue.broken.items():
        click.echo(f"{name:<18} cannot be used: {why}", err=True)


def _state(row: dict[str, Any]) -> str:
    if row["loaded"]:
        return "loaded"
    if row["outdated"]:
        return "outdated"
    return "installed" if row["installed"] else "not installed"


def _details(row: dict[str, Any]) -> str:
    versions = [f"{name} {version}" for name, version in list(row["versions"].items())[:1]]
    used = datetime.fromisoformat(row["last_used"]).timestamp() if row["last_used"] else None
    size = f"{megabytes(row['bytes'])}, {megabytes(row['own_bytes'])} of its own"
    lock = ["a lock of your own"] if row["own_lock"] else []
    return ", ".join([*versions, *lock, size, ago(used)])
