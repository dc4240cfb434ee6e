"""`waifu-llm install`, and what it shares with `upgrade`."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterable
from typing import Any

import click

from waifu_llm.cli.bar import Bar
from waifu_llm.cli.here import Here, look_around
from waifu_llm.cli.main import FAILED, STOPPED
from waifu_llm.environments.compiler import compile_warning
from waifu_llm.errors import WaifuError
from waifu_llm.specs import ProviderSpec

json_option = click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")


@click.command("install", short_help="Install providers, before they are first loaded.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@json_option
def command(names: tuple[str, ...], as_json: bool) -> None:
    """Install providers, each into an environment of its own.

    A provider is installed by its first load as well; this makes that load quick. What is installed
    already stays as it is. Ctrl-C stops it and leaves nothing half-made. The exit status is 1 when
    one of them could not be installed.

    \b
    Examples:
      waifu-llm install openai
      waifu-llm install openai groq --json
    """
    here = look_around()
    install_all(here, [here.catalogue.find(name) for name in dict.fromkeys(names)], as_json)


def install_all(here: Here, specs: Iterable[ProviderSpec], as_json: bool) -> None:
    """Install each that is not, and say what came of it; ends the program when one failed."""
    results = []
    for spec in specs:
        results.append(_install(here, spec))
        if not as_json:
            _say(results[-1])
    if as_json:
        click.echo(json.dumps({"providers": results}, indent=2))
    if any(result["error"] for result in results):
        sys.exit(FAILED)


def _install(here: Here, spec: ProviderSpec) -> dict[str, Any]:
    result = {"name": spec.name, "was_installed": False, "seconds": 0.0, "error": None}
    if here.environments.find(spec):
        return {**result, "was_installed": True}
    if spec.compiles and spec.build:
        click.echo(f"{spec.name}: {compile_warning(spec)}", err=True)
    begun = time.monotonic()
    try:
        with Bar(spec.name) as bar:
            asyncio.run(here.environments.install(spec, bar))
    except WaifuError as error:
        result |= {"error": {"code": error.code, "message": error.message}}
    except KeyboardInterrupt:
        click.echo(f"{spec.name}: stopped. Nothing half-made is left.", err=True)
        sys.exit(STOPPED)
    return {**result, "seconds": round(time.monotonic() - begun, 3)}


def _say(result: dict[str, Any]) -> None:
    name = result["name"]
    if result["error"]:
        click.echo(f"{name}: {result['error']['message']}", err=True)
    elif result["was_installed"]:
        click.echo(f"{name} is installed already.")
    else:
        click.echo(f"{name} is installed, after {result['seconds']:.1f} s.")
