"""The assistants that jobs can name: one file each, in the folder `assistants` of the home.

A file is read anew whenever its assistant is used, so what was changed holds from the next job on.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import msgspec

from waifu_llm import system
from waifu_llm.errors import InvalidMessage, WaifuError
from waifu_llm.jobs import assistants
from waifu_llm.secrecy import secrets_in

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_TAKEN = re.compile(r"(?i)con|prn|aux|nul|(com|lpt)\d")
"""What Windows keeps for its devices."""
_LARGEST = 8 * 1024 * 1024


class Shelf:
    """All of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Also of those that cannot be used: who asks for one is told why."""
        return sorted(file.stem for file in self.folder.glob("*.json") if _fits(file.stem))

    def template(self, name: str) -> Any:
        """What stands in the file, as it can be used.

        Raises:
            InvalidMessage: When there is none of that name, or it cannot be used.
        """
        file = self._file(name)
        if not (_fits(name) and file.is_file()):
            known = ", ".join(self.names()) or "none yet"
            raise InvalidMessage(
                f"There is no assistant `{name}`. Kept: {known}. "
                "`waifu-llm assistants add` keeps one."
            )
        try:
            return _read(file.read_bytes())
        except OSError as exc:
            raise InvalidMessage(f"Cannot read {file}: {exc.strerror or exc}.") from None
        except WaifuError as error:
            raise InvalidMessage(f"The assistant `{name}` cannot be used: {error}") from None

    def put(self, name: str, text: bytes) -> None:
        """Keep it, in place of one of the same name.

        Raises:
            InvalidMessage: When it is no assistant, or that is no name for one.
        """
        if not _fits(name):
            raise InvalidMessage(
                f"`{name}` is no name for an assistant: ASCII letters, digits, `_` and `-`, "
                "at most 64, and none that Windows keeps for its devices."
            )
        template = _read(text)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self.folder / f".{name}.{os.getpid()}"
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(template), indent=2) + b"\n")
        system.replace(draft, self._file(name))

    def remove(self, name: str) -> bool:
        """Returns whether there was one."""
        if not (_fits(name) and self._file(name).is_file()):
            return False
        self._file(name).unlink()
        return True

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def _fits(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and not _TAKEN.fullmatch(name)


def _read(text: bytes) -> Any:
    if len(text) > _LARGEST:
        raise InvalidMessage(f"It has {len(text)} bytes; at most {_LARGEST} are taken.")
    try:
        template = msgspec.json.decode(text.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidMessage(f"This is not JSON: {exc}.") from None
    assistant = assistants.read(template)
    for place in secrets_in(list(assistants.all_settings(assistant))):
        _, _, name = place.partition(".")
        raise InvalidMessage(
            f"`{name}` of its settings is a secret, or holds one, and has no place in what is "
            "kept: store a key with `waifu-llm keys set`, and give its name as `key` of the stream."
        )
    return template
