"""Where a model comes from: `OWNER/REPOSITORY:FILE` on Hugging Face, or an address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from waifu_llm.errors import InvalidModel

HUGGING_FACE = "https://huggingface.co"
_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+):(?P<file>[\w./ +-]+\.gguf)")
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_NAME = re.compile(r"[\w+][\w.+ -]*\.gguf")


@dataclass(frozen=True)
class Source:
    """One file to fetch."""

    url: str
    name: str
    """What it is called here."""
    token: str = ""
    """For the origin of `url` alone."""


def sources(wanted: str, environ: Mapping[str, str], revision: str = "main") -> list[Source]:
    """The files of one model; several where it comes in parts.

    Raises:
        InvalidModel: When it is neither of the two, or no GGUF file.
    """
    if match := _HUB.fullmatch(wanted):
        endpoint = environ.get("HF_ENDPOINT", "").rstrip("/") or HUGGING_FACE
        token = environ.get("HF_TOKEN", "")
        at = f"{endpoint}/{match['repo']}/resolve/{quote(revision, safe='')}"
        return [
            Source(f"{at}/{quote(file)}", _name_of(file), token) for file in _parts(match["file"])
        ]
    parts = urlsplit(wanted)
    if parts.scheme in ("http", "https") and parts.hostname:
        return [Source(wanted, _name_of(unquote(parts.path)))]
    raise InvalidModel(
        f"Expected `OWNER/REPOSITORY:FILE.gguf` or an address, not `{wanted}`. "
        "Other formats than GGUF cannot be run."
    )


def _parts(file: str) -> list[str]:
    match = _PART.search(file)
    if match is None:
        return [file]
    begin, count = file[: match.start()], int(match[2])
    return [f"{begin}-{number:05}-of-{match[2]}.gguf" for number in range(1, count + 1)]


def _name_of(path: str) -> str:
    name = path.rpartition("/")[2]
    if not _NAME.fullmatch(name):
        raise InvalidModel(f"`{name}` is no name of a GGUF file. Other formats cannot be run.")
    return name
