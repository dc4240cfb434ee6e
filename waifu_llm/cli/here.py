"""What there is on this machine, for the commands that look after it: providers, environments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from waifu_llm import plugins
from waifu_llm.cli.options import resolved
from waifu_llm.config import Config
from waifu_llm.environments import Environments
from waifu_llm.paths import Paths, bundled_providers
from waifu_llm.plugins import Catalogue


@dataclass(frozen=True)
class Here:
    """The settings that hold here, and what they lead to."""

    settings: Config
    paths: Paths
    catalogue: Catalogue
    environments: Environments


def look_around() -> Here:
    settings, found = resolved()
    drop_in, disabled = found.drop_in_providers, settings.disabled_plugins
    wheels = Path(settings.wheels) if settings.wheels else None
    return Here(
        settings,
        found,
        plugins.discover(bundled_providers(), drop_in, disabled, found.locks, found.models),
        Environments(found.environments, found.cache, wheels=wheels),
    )
