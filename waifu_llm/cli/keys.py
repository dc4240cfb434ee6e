"""`waifu-llm keys`: set, list, remove, test"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from waifu_llm import credentials
from waifu_llm.checkup import Checkup, Finding
from waifu_llm.cli.advice import advised
from waifu_llm.cli.channels import about_secret, is_channel
from waifu_llm.cli.here import Here, look_around
from waifu_llm.cli.install import install_all, json_option
from waifu_llm.cli.main import FAILED
from waifu_llm.cli.terminal import at_terminal
from waifu_llm.credentials import ADDRESS, KEY
from waifu_llm.keys import DEFAULT, KEY_NAME, KeyStore, StoredKey
from waifu_llm.specs import ProviderSpec

address_option = click.option(
    "--base-url", metavar="URL", help="The address that the key is for, where it is another."
)


@click.group("keys", short_help="Store the keys of providers, list, remove and test them.")
def command() -> None:
    """Store the keys of providers, list, remove and test them.

    A key is used by every load that brings none of its own, and goes only to the address that it
    was stored for. Several of one provider have names; the one named `default` needs no naming.
    They are kept in a file that is yours alone, or in the system's keyring (the setting
    `keyring`). A running module notices at once.

    \b
    Examples:
      waifu-llm keys set openai
      waifu-llm keys set openai stream < key.txt
      waifu-llm keys set openai --base-url http://box:8000/v1
      waifu-llm keys test openai stream
      waifu-llm keys set channels.sms auth_token
      waifu-llm keys list
    """


@command.command("set", short_help="Store a key, which is asked for.")
@click.argument("provider")
@click.argument("name", default=DEFAULT)
@address_option
def set_key(provider: str, name: str, base_url: str | None) -> None:
    """Store a key: typed unseen, or the first line of stdin. It replaces one of the same name. The
    secrets of a channel are those of `channels.NAME`."""
    here = look_around()
    if is_channel(provider):
        _set_secret(here, provider, name, base_url)
    else:
        _set_key(here, provider, name, base_url)


def _set_key(here: Here, provider: str, name: str, base_url: str | None) -> None:
    spec = here.catalogue.find(provider)
    _check(spec, name, base_url)
    origin = _origin(here, spec, base_url)
    new = here.key_store.set(spec.name, name, origin, _read_key(f"Key of {spec.title}"))
    where = "the system's keyring" if new.entry else str(here.paths.keys_file)
    click.echo(f"The key `{name}` of `{spec.name}`{_for(origin)} is in {where}.")
    if name == DEFAULT:
        _tell_what_comes_first(here, spec, origin)


def _check(spec: ProviderSpec, name: str, base_url: str | None) -> None:
    if KEY not in spec.settings:
        raise click.UsageError(f"`{spec.name}` takes no key.")
    if not KEY_NAME.fullmatch(name):
        raise click.UsageError(f"`{name}` is no name for a key: ASCII letters, digits, `_.-`.")
    if base_url and ADDRESS not in spec.settings:
        raise click.UsageError(f"`{spec.name}` always asks the same server: leave --base-url out.")


def _origin(here: Here, spec: ProviderSpec, base_url: str | None) -> str:
    if base_url:
        return credentials.origin(base_url)
    home = credentials.home_of(spec, here.stored.table(spec.name), os.environ)
    if not home and ADDRESS in spec.settings and spec.settings[ADDRESS].required:
        raise click.UsageError(f"`{spec.name}` has no address of its own: give one, --base-url.")
    return home


def _set_secret(here: Here, owner: str, name: str, base_url: str | None) -> None:
    if base_url:
        raise click.UsageError(
            "A channel's secret goes where its table says: leave --base-url out."
        )
    about = about_secret(here, owner, name)
    new = here.key_store.set(owner, name, "", _read_key(about.rstrip(".")))
    where = "the system's keyring" if new.entry else str(here.paths.keys_file)
    click.echo(f"`{name}` of `{owner}` is in {where}. It is used from the next start on.")


def _read_key(asked: str) -> str:
    """Never from the arguments: every program of this machine can see those."""
    if at_terminal():
        typed: str = click.prompt(asked, hide_input=True)
    else:
        typed = sys.stdin.readline()
    key = typed.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise click.UsageError("A key is one line of ASCII letters, digits and signs.")
    return key


def _tell_what_comes_first(here: Here, spec: ProviderSpec, origin: str) -> None:
    for each in _kept_elsewhere(here, spec):
        if each["origin"] == origin:
            click.echo(f"One from {each['kept']} is there too, and comes first.", err=True)


@command.command("list", short_help="List which keys there are, and where each may go.")
@json_option
def list_keys(as_json: bool) -> None:
    """List which keys there are, where each may go, and where it is kept. No key is shown; of a
    long one in the file the last four characters are.

    Of several named alike for one address the first holds.
    """
    here = look_around()
    rows = [row for spec in here.catalogue.specs.values() for row in _kept_elsewhere(here, spec)]
    rows += [_row(each) for each in here.stored.keys]
    rows.sort(key=lambda row: (row["provider"], row["origin"], row["name"]))
    if as_json:
        click.echo(json.dumps({"keys": rows}, indent=2))
        return
    for row in rows:
        hint = f" …{row['hint']}" if row["hint"] else ""
        where = row["origin"] or "its own address"
        click.echo(f"{row['provider']:<16} {row['name']:<16} {where:<40} {row['kept']}{hint}")


def _row(stored: StoredKey) -> dict[str, str]:
    return {
        "provider": stored.provider,
        "name": stored.name,
        "origin": stored.origin,
        "kept": stored.kept_in,
        "hint": stored.hint,
    }


def _kept_elsewhere(here: Here, spec: ProviderSpec) -> Iterator[dict[str, str]]:
    """What comes before the stored keys: in the configuration, and in variables."""
    if KEY not in spec.settings:
        return
    table, variable = here.stored.table(spec.name), spec.settings[KEY].env
    kept = [here.paths.config_file.name] if table.get(KEY) else []
    kept += [variable] if variable and os.environ.get(variable) else []
    home = credentials.home_of(spec, table, os.environ) if kept else ""
    for each in kept:
        yield {**_row(StoredKey(spec.name, DEFAULT, home)), "kept": each}


@command.command("remove", short_help="Remove a stored key.")
@click.argument("provider")
@click.argument("name", default=DEFAULT)
@address_option
def remove_key(provider: str, name: str, base_url: str | None) -> None:
    """Remove a stored key, from the keyring too."""
    store = look_around().key_store
    origin = credentials.origin(base_url) if base_url else _only_origin(store, provider, name)
    removed = store.remove(lambda each: each.identity == (provider, origin, name))
    if not removed:
        click.echo(f"There is no key `{name}` of `{provider}`{_for(origin)}.", err=True)
        sys.exit(FAILED)
    click.echo(f"The key `{name}` of `{provider}`{_for(origin)} is removed.")


def _only_origin(store: KeyStore, provider: str, name: str) -> str:
    alike = [each for each in store.file.read() if (each.provider, each.name) == (provider, name)]
    if len(alike) > 1:
        origins = ", ".join(each.origin for each in alike)
        raise click.UsageError(f"There is one for each of {origins}: give one as --base-url.")
    return alike[0].origin if alike else ""


def _for(origin: str) -> str:
    return f" for {origin}" if origin else ""


@command.command("test", short_help="Try whether a key works, at no cost.")
@click.argument("provider")
@click.argument("name", required=False)
@address_option
def test_key(provider: str, name: str | None, base_url: str | None) -> None:
    """Load a provider, or a profile, and ask for its models, which costs nothing. Without a NAME
    the key is tried that a load would use. The exit status is 1 when it does not work.
    """
    here = look_around()
    spec, profile = here.find(provider)
    asked = {ADDRESS: base_url} if base_url else {}
    if not here.environments.find(spec):
        install_all(here, [spec], as_json=False)
    checkup = Checkup(
        spec,
        here.environments,
        lambda: here.stored.settings(spec, profile, asked, name),
        here.paths.provider_log(spec.name),
    )
    finding = asyncio.run(_last(checkup))
    well = finding.step == "load" and finding.state == "ok"
    click.echo(f"{provider}: {advised(finding.message)}", err=not well)
    if not well:
        sys.exit(FAILED)


async def _last(checkup: Checkup) -> Finding:
    """The first that is not well ends it."""
    with tempfile.TemporaryDirectory() as folder:
        found = [each async for each in checkup.findings(Path(folder), None, costs_nothing=True)]
    return found[-1]
