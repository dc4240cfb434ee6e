"""Where everything lives, in a checkout and when installed. Nothing is created here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
HOST = _PACKAGE / "provider_host"
"""The folder that runs inside a provider's environment."""
TEMPLATE = _PACKAGE / "newcomer"
"""A provider that waits for its name."""


@dataclass(frozen=True)
class Paths:
    """The places that the module keeps things in."""

    home: Path
    environments: Path

    @property
    def config_file(self) -> Path:
        return self.home / "waifu-llm.toml"

    @property
    def token_file(self) -> Path:
        return self.home / "token"

    @property
    def keys_file(self) -> Path:
        return self.home / "keys.json"

    @property
    def drop_in_providers(self) -> Path:
        return self.home / "providers"

    @property
    def drop_in_channels(self) -> Path:
        """Kinds of channels of one's own, a file for each."""
        return self.home / "channels"

    @property
    def locks(self) -> Path:
        """The operator's own, a folder for each provider."""
        return self.home / "locks"

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    @property
    def run(self) -> Path:
        """An empty folder for provider processes to stand in."""
        return self.home / "run"

    @property
    def models(self) -> Path:
        """What local providers run."""
        return self.home / "models"

    @property
    def assistants(self) -> Path:
        """Those that jobs can name, a file for each."""
        return self.home / "assistants"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    def provider_log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    @property
    def history(self) -> Path:
        return self.home / "chat-history"


def find(environ: Mapping[str, str] = os.environ) -> Paths:
    """`WAIFU_LLM_HOME` holds all of it; else a checkout keeps its environments beside the code."""
    chosen = environ.get("WAIFU_LLM_HOME")
    if chosen:
        home = Path(chosen).expanduser().absolute()
        return Paths(home, home / "provider_envs")
    home = _user_folder()
    checkout = _checkout()
    return Paths(home, (checkout or home) / "provider_envs")


def bundled_providers() -> Path:
    """The providers that come with the module: inside a wheel, or at the top of a checkout."""
    checkout = _checkout()
    return checkout / "providers" if checkout else _PACKAGE / "bundled_providers"


def _checkout() -> Path | None:
    root = _PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "providers").is_dir() else None


def _user_folder() -> Path:
    import platformdirs  # only where no home was named: it costs a start some milliseconds

    return platformdirs.user_data_path("waifu-llm", appauthor=False)
