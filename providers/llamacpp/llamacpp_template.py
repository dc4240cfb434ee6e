"""Chat templates: a model's own, and the setting `chat_template`.

Shared with llamacpp-prebuilt. Standard library only.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from waifu_provider import ProviderError

_NAME = b"tokenizer.chat_template"
_KEY = len(_NAME).to_bytes(8, "little") + _NAME
_HEADER_BYTES = 64 * 1024 * 1024


def template_of(file: Path) -> str:
    """The template that a GGUF file brings, "" where it brings none."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(_KEY, 0, _HEADER_BYTES)
        if at < 0:
            return ""
        at += len(_KEY) + 4  # the kind of value
        length = int.from_bytes(data[at : at + 8], "little")
        return data[at + 8 : at + 8 + length].decode("utf-8", "replace")


def see_that_it_knows_tools(template: str) -> None:
    """
    Raises:
        ProviderError: When it does not: the model would never hear of them.
    """
    if "tools" not in template:
        text = "The chat template of this model knows no tools. Ask one that was made for them."
        raise ProviderError("UNSUPPORTED", text)


def chosen_template(chosen: str) -> str:
    """The template itself, or what the file holds that it names; nothing where none is chosen."""
    if not chosen or "{" in chosen:
        return chosen
    try:
        return Path(chosen).expanduser().read_text("utf-8")
    except OSError as exc:
        text = f"`chat_template` is no template, and no file: {exc.strerror or exc}."
        raise ProviderError("INVALID_MODEL", text) from None
