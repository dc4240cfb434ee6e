"""`waifu-llm upgrade`"""

from __future__ import annotations

import click

from waifu_llm.cli.here import Here, look_around
from waifu_llm.cli.install import install_all, json_option
from waifu_llm.specs import ProviderSpec


@click.command("upgrade", short_help="Bring installed providers to what they want now.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@json_option
def command(names: tuple[str, ...], as_json: bool) -> None:
    """Bring installed providers to the versions that they name now: all of them, or those named.

    They name others after an update of the module, or of a provider. The next load would see to it
    as well. A module that runs keeps the environment that it uses.

    \b
    Examples:
      waifu-llm upgrade
      waifu-llm upgrade openai
    """
    here = look_around()
    specs = [here.catalogue.find(name) for name in names] or _installed(here)
    install_all(here, specs, as_json)
    if not specs and not as_json:
        click.echo("Nothing is installed.")


def _installed(here: Here) -> list[ProviderSpec]:
    names = {each.provider for each in here.environments.installed()}
    return [here.catalogue.specs[name] for name in sorted(names & here.catalogue.specs.keys())]
