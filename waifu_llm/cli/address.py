"""Where the module is reached."""

from __future__ import annotations

from waifu_llm.cli.options import resolved
from waifu_llm.config import Config, ConfigError


def module_url(url: str | None) -> str:
    """The address that was named, else the one that the settings give."""
    if url:
        return url
    settings, _ = resolved()
    if settings.port == 0:
        source = settings.source("port")
        raise ConfigError(
            f"`port` (from {source}) is 0, which is no address to connect to. "
            "Name the module with --url."
        )
    return own_url(settings)


def own_url(settings: Config) -> str:
    """Where a module with these settings is reached."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return from_here(f"{'wss' if settings.tls_cert else 'ws'}://{host}:{settings.port}")


def from_here(url: str) -> str:
    """A module that listens at every address is reached on its own machine at this one."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
