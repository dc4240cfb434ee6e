"""What there is on this machine, for the commands that look after it: providers, environments."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from waifu_llm import plugins
from waifu_llm.cli.options import resolved
from waifu_llm.config import Config
from waifu_llm.environments import Environments
from waifu_llm.keys import KeyStore
from waifu_llm.paths import Paths, bundled_providers
from waifu_llm.plugins import Catalogue
from waifu_llm.profiles import Profile
from waifu_llm.specs import ProviderSpec
from waifu_llm.stored import Stored


@dataclass(frozen=True)
class Here:
    """The settings that hold here, and what they lead to."""

    settings: Config
    paths: Paths
    catalogue: Catalogue
    environments: Environments

    @functools.cached_property
    def stored(self) -> Stored:
        """
        Raises:
            ConfigError: When a profile or the file of keys cannot be read.
        """
        return Stored(self.settings, self.paths, lambda: self.catalogue.specs)

    @property
    def key_store(self) -> KeyStore:
        return KeyStore(self.paths.keys_file, self.settings.keyring)

    def find(self, name: str) -> tuple[ProviderSpec, Profile | None]:
        """The provider of this name, or that of the profile, with it.

        Raises:
            InvalidProvider: When there is neither.
        """
        profile = self.stored.profiles.get(name)
        provider = profile.provider if profile else name
        return self.catalogue.find(provider, self.stored.profiles), profile


def look_around() -> Here:
    settings, found = resolved()
    drop_in, disabled = found.drop_in_providers, settings.disabled_plugins
    wheels = Path(settings.wheels) if settings.wheels else None
    return Here(
        settings,
        found,
        plugins.discover(
            bundled_providers(),
            drop_in,
            disabled,
            found.locks,
            found.models,
            found.drop_in_channels,
        ),
        Environments(found.environments, found.cache, wheels=wheels),
    )
