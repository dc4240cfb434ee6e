"""Where a model comes from: `OWNER/REPOSITORY:FILE` on Hugging Face, or an address.

An address may hold secrets: a name and a password before the host, a signature after the path.
They are asked with, and never shown or written.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urlsplit

from waifu_llm.errors import InvalidModel

HUGGING_FACE = "https://huggingface.co"
_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+):(?P<file>[\w./ +-]+\.gguf)")
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_NAME = re.compile(r"[\w+][\w.+ -]*\.gguf")
_AS_THEY_ARE = "%/:@!$&'()*+,;=~"


@dataclass(frozen=True)
class Source:
    """One file to fetch."""

    url: str = field(repr=False)
    """Without a name or password; it may still hold a signature."""
    name: str
    """What it is called here."""
    token: str = field(default="", repr=False)
    """For the origin of `url` alone."""
    login: str = field(default="", repr=False)
    """The same, as NAME:PASSWORD."""
    of_hub: bool = False

    @property
    def shown(self) -> str:
        """The address as anybody may read it."""
        return without_secrets(self.url)

    @property
    def authorization(self) -> str:
        if self.token:
            return f"Bearer {self.token}"
        return f"Basic {b64encode(self.login.encode()).decode()}" if self.login else ""


def sources(wanted: str, environ: Mapping[str, str], revision: str = "main") -> list[Source]:
    """The files of one model; several where it comes in parts.

    Raises:
        InvalidModel: When it is neither of the two, or no GGUF file.
    """
    if match := _HUB.fullmatch(wanted):
        endpoint, login = _endpoint(environ.get("HF_ENDPOINT", "").rstrip("/") or HUGGING_FACE)
        token = environ.get("HF_TOKEN", "")
        at = f"{endpoint}/{match['repo']}/resolve/{quote(revision, safe='')}"
        return [
            Source(f"{at}/{quote(file)}", _name_of(file), token, login, of_hub=True)
            for file in _parts(match["file"])
        ]
    if (parts := _address(wanted)) is None:
        raise InvalidModel(
            f"Expected `OWNER/REPOSITORY:FILE.gguf` or an address, not {_unread(wanted)}. "
            "Other formats than GGUF cannot be run."
        )
    url, login = _parted(parts)
    return [Source(url, _name_of(unquote(parts.path)), login=login)]


def without_secrets(url: str) -> str:
    """An address without name, password and signature."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _endpoint(text: str) -> tuple[str, str]:
    if (parts := _address(text)) is None:
        raise InvalidModel("HF_ENDPOINT should be an http or https address.")
    return _parted(parts)


def _address(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


def _parted(parts: SplitResult) -> tuple[str, str]:
    """The address, and the NAME:PASSWORD that stood in it."""
    user, _, host = parts.netloc.rpartition("@")
    query = f"?{quote(parts.query, safe=_AS_THEY_ARE + '?[]')}" if parts.query else ""
    name, _, password = user.partition(":")
    login = f"{unquote(name)}:{unquote(password)}" if user else ""
    return f"{parts.scheme}://{host}{quote(parts.path, safe=_AS_THEY_ARE)}{query}", login


def _unread(wanted: str) -> str:
    """What cannot be read as an address may hold a password anywhere."""
    return "that" if "@" in wanted or "?" in wanted else f"`{wanted}`"


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
