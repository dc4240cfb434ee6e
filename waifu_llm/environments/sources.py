"""Where packages come from is the operator's to say; nothing else reaches an installer, and no key.

pip's settings hold for uv too, which does not read them, unless uv was told something itself.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

_KEPT = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CERT",
    "PIP_CLIENT_CERT", "PIP_PROXY", "PIP_TRUSTED_HOST", "PIP_CONFIG_FILE", "PIP_DEFAULT_TIMEOUT",
    "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS",
    "UV_NO_INDEX", "UV_OFFLINE", "UV_NATIVE_TLS", "UV_INSECURE_HOST", "UV_CONFIG_FILE",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE", "HOME", "PATH", "TMPDIR", "TEMP", "TMP", "LANG", "USERPROFILE",
    "APPDATA", "LOCALAPPDATA", "PROGRAMDATA", "SYSTEMROOT", "SYSTEMDRIVE", "COMSPEC", "PATHEXT",
    "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS",
)  # fmt: skip

_FOR_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "HTTPS_PROXY",
}
MACHINE = Path("/etc")
_PIP_OPTIONS = (*_FOR_UV, "client-cert", "timeout")
_YES = ("1", "true", "yes", "on")
_COMMAS = ("find-links", "trusted-host")


def installer_environ(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.upper() in _KEPT}


def probe_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The provider's own code runs: an index with a password in its address is not for it."""
    kept = installer_environ(environ)
    return {name: kept[name] for name in kept if not name.upper().startswith(("PIP_", "UV_"))}


def pip_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """With what its files say of where packages come from, and nothing else of what they say."""
    kept = installer_environ(environ)
    told = {_variable(option): value for option, value in _pip_was_told(kept).items()}
    return {**kept, **told, "PIP_CONFIG_FILE": os.devnull}


def uv_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """With what pip was told, where uv was told nothing. All indexes are alike, as they are to pip:
    it is the hashes that are trusted, not who was asked first."""
    kept = {**installer_environ(environ), "UV_INDEX_STRATEGY": "unsafe-best-match"}
    if _uv_was_told(kept):
        return kept
    told = _pip_was_told(kept)
    for option in _FOR_UV.keys() & told.keys():
        between = "," if option in _COMMAS else " "
        kept.setdefault(_FOR_UV[option], between.join(told[option].split()))
    return kept


def uv_options(environ: Mapping[str, str]) -> list[str]:
    """What uv takes as an option alone."""
    return ["--no-index"] if uv_environ(environ).get("UV_NO_INDEX", "").lower() in _YES else []


def build_environ(declared: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """What a provider declares for whoever builds, each with what the operator set after it."""
    both = {name: f"{value} {environ.get(name, '')}".strip() for name, value in declared.items()}
    return {name: value for name, value in both.items() if value}


def with_index(environ: Mapping[str, str], name: str, index: str) -> dict[str, str]:
    """One index more. Not as an argument: those are for all to see, and it may hold a password."""
    return {**environ, name: f"{index} {environ.get(name, '')}".strip()} if index else {**environ}


def _uv_was_told(environ: Mapping[str, str]) -> bool:
    if any(name.startswith("UV_") and name in _KEPT for name in environ):
        return True
    return any(file.is_file() for file in _uv_files(environ))


def _uv_files(environ: Mapping[str, str]) -> Iterator[Path]:
    for folder in (*_folders_of_all(environ), *_own_folders(environ), MACHINE):
        yield folder / "uv" / "uv.toml"


def _pip_was_told(environ: Mapping[str, str]) -> dict[str, str]:
    """Its files first, then its variables, which win."""
    told: dict[str, str] = {}
    for file in _pip_files(environ):
        told |= _options_in(file)
    for option in _PIP_OPTIONS:
        if value := environ.get(_variable(option)):
            told[option] = value
    return told


def _variable(option: str) -> str:
    return f"PIP_{option.replace('-', '_').upper()}"


def _options_in(file: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(file, "utf-8")
    except (OSError, ValueError, configparser.Error):
        return {}  # pip will say what is wrong with it
    told: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            told |= {name.replace("_", "-"): value for name, value in parser.items(section)}
    return {option: told[option] for option in _PIP_OPTIONS if told.get(option)}


def _pip_files(environ: Mapping[str, str]) -> Iterator[Path]:
    """As pip looks for them: everyone's, the user's, the environment's, the one that is named."""
    name = "pip.ini" if os.name == "nt" else "pip.conf"
    yield from (folder / "pip" / name for folder in _folders_of_all(environ))
    yield MACHINE / name
    if home := environ.get("HOME"):
        yield Path(home, ".pip", name)
    yield from (folder / "pip" / name for folder in _own_folders(environ))
    yield Path(sys.prefix, name)
    if chosen := environ.get("PIP_CONFIG_FILE"):
        yield Path(chosen)


def _folders_of_all(environ: Mapping[str, str]) -> Iterator[Path]:
    if os.name == "nt":
        yield from map(Path, filter(None, [environ.get("PROGRAMDATA")]))
    else:
        yield from map(Path, reversed(environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")))


def _own_folders(environ: Mapping[str, str]) -> Iterator[Path]:
    home = environ.get("HOME")
    if os.name == "nt":
        yield from map(Path, filter(None, [environ.get("APPDATA")]))
    elif sys.platform == "darwin" and home:
        yield Path(home, "Library", "Application Support")
    if chosen := environ.get("XDG_CONFIG_HOME") or (home and f"{home}/.config"):
        yield Path(chosen)
