"""The module's token: what those bring who are not simply let in."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from waifu_llm.config import Config, ConfigError
from waifu_llm.paths import Paths


def read_token(config: Config, paths: Paths) -> str:
    """The token, made at first start.

    Raises:
        ConfigError: When its file cannot be read or written, or others may read it.
    """
    if config.token:
        return config.token
    file = Path(config.token_file) if config.token_file else paths.token_file
    try:
        if not config.token_file:
            _make_token(file)
        if os.name == "posix" and file.stat().st_mode & 0o077:
            raise ConfigError(f"{file} can be read by others. Run: chmod 600 '{file}'")
        token = file.read_text("utf-8").strip()
    except OSError as exc:
        raise ConfigError(f"Cannot use the token file {file}: {exc.strerror or exc}.") from None
    if not token:
        raise ConfigError(f"The token file {file} is empty. Remove it, and a new one is made.")
    return token


def _make_token(file: Path) -> None:
    """Write a token where there is none. Of two modules that start at once, one makes it."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    if file.exists():
        return
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(secrets.token_urlsafe(32) + "\n")
    try:
        os.link(draft, file)
    except FileExistsError:
        pass  # another module was faster
    except OSError:  # a file system without links
        os.replace(draft, file)
    draft.unlink(missing_ok=True)
