"""The setting `chat_template`. Shared with llamacpp-prebuilt. Standard library only."""

from __future__ import annotations

from pathlib import Path

from waifu_provider import ProviderError


def chosen_template(chosen: str) -> str:
    """The template itself, or what the file holds that it names; nothing where none is chosen."""
    if not chosen or "{" in chosen:
        return chosen
    try:
        return Path(chosen).expanduser().read_text("utf-8")
    except OSError as exc:
        text = f"`chat_template` is no template, and no file: {exc.strerror or exc}."
        raise ProviderError("INVALID_MODEL", text) from None
