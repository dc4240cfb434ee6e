"""What comes with an extra of the package, and is not there unless that was installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from waifu_llm.config import ConfigError


@contextmanager
def needed(extra: str, what: str) -> Iterator[None]:
    """Around what imports libraries of an extra; `what` needs them.

    Raises:
        ConfigError: When one is missing: names the extra.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith("waifu_llm"):
            raise
        library = missing.name.partition(".")[0]
        raise ConfigError(
            f"{what} needs `{library}`, which is not installed: it comes with the extra "
            f"`{extra}`. Run: pip install 'waifu-llm[{extra}]'"
        ) from None
