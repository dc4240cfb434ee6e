"""Every setting of the module: one frozen Config, resolved once and handed down.

A setting is a field of Config. Its flag, its variable and its key in the file are made from its
name (`idle_seconds`: `--idle-seconds`, `WAIFU_LLM_IDLE_SECONDS`, `idle_seconds`), and the first
of flag, variable, file and default that is there holds.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from waifu_llm.errors import WaifuError


class ConfigError(WaifuError):
    """A setting that cannot be: says which, where it was set and what it should be."""


LOG_LEVELS = ("debug", "info", "warning", "error")


def setting(default: Any, about: str, *, secret: bool = False, **bounds: Any) -> Any:
    """A field with its help, and the bounds `ge`, `le` or `choices` where it has any."""
    return field(default=default, metadata={"help": about, "secret": secret, **bounds})


@dataclass(frozen=True, kw_only=True)
class Config:
    """What holds. `origins` tells for each name where its value came from."""

    host: str = setting("127.0.0.1", "Address to listen at.")
    port: int = setting(7562, "Port to listen at; 0 picks a free one.", ge=0, le=65_535)
    token: str = setting("", "The token itself; better kept in a file.", secret=True)
    token_file: str = setting("", "File that holds the token.")
    require_token: bool = setting(False, "Ask for the token even of local native clients.")
    allowed_origins: tuple[str, ...] = setting((), "Web origins that may connect.")
    allowed_hosts: tuple[str, ...] = setting((), "Further names of ours, as host:port.")
    behind_proxy: bool = setting(False, "A reverse proxy stands in front and speaks TLS.")
    tls_cert: str = setting("", "Certificate chain, a PEM file.")
    tls_key: str = setting("", "Private key of the certificate, a PEM file.")
    allow_remote_close: bool = setting(False, "Let browsers and remote clients close the module.")
    auto_install: bool = setting(True, "Install a provider when it is first loaded.")
    disabled_plugins: tuple[str, ...] = setting((), "Plugins that are not loaded.")
    idle_seconds: float = setting(300.0, "How long a thing that nobody holds stays loaded.", ge=0)
    cloud_concurrency: int = setting(256, "Generations at once for a cloud provider.", ge=1)
    max_waiting: int = setting(512, "Generations that may wait, in all.", ge=0)
    max_waiting_per_provider: int = setting(64, "Generations that may wait for one thing.", ge=0)
    max_connections: int = setting(512, "Connections at a time.", ge=1)
    max_unauthorized: int = setting(16, "Connections that have yet to bring their token.", ge=1)
    max_message_bytes: int = setting(8 * 1024 * 1024, "Largest message that is taken.", ge=1024)
    first_token_ms: int = setting(60_000, "Longest wait for a cloud provider's first token.", ge=1)
    local_first_token_ms: int = setting(300_000, "Longest wait for a local provider's first.", ge=1)
    between_tokens_ms: int = setting(60_000, "Longest wait for each further token.", ge=1)
    answer_ms: int = setting(600_000, "Longest wait for a whole answer that is not streamed.", ge=1)
    interrupt_grace_seconds: float = setting(5.0, "How long a provider may take to obey.", ge=0)
    load_seconds: float = setting(600.0, "How long a provider may take to load.", ge=1)
    stalled_seconds: float = setting(30.0, "How long a client may leave its answers unread.", ge=1)
    parent_pid: int = setting(0, "Close when the process with this id ends.", ge=0)
    log_level: str = setting("warning", "debug, info, warning or error.", choices=LOG_LEVELS)
    providers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, metadata={"help": ""})
    sources: Mapping[str, str] = field(default_factory=dict, metadata={"help": ""})

    def source(self, name: str) -> str:
        return self.sources.get(name, "default")


def settings() -> list[Field[Any]]:
    """The fields that can be set one by one."""
    return [each for each in fields(Config) if each.name not in ("providers", "sources")]


def resolve(flags: Mapping[str, Any], environ: Mapping[str, str], file: Path) -> Config:
    """Put the layers together.

    Raises:
        ConfigError: When a value is of the wrong kind, or the file cannot be read.
    """
    written = _read(file)
    values: dict[str, Any] = {"providers": _provider_tables(written, file)}
    sources: dict[str, str] = {}
    for each in settings():
        variable = f"WAIFU_LLM_{each.name.upper()}"
        layers = [
            (flags.get(each.name), f"--{each.name.replace('_', '-')}"),
            (environ.get(variable), variable),
            (written.get(each.name), str(file)),
        ]
        for value, source in layers:
            if value is not None:
                values[each.name] = _convert(each, value, source)
                sources[each.name] = source
                break
    _refuse_unknown(written, file)
    return Config(**values, sources=sources)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise ConfigError(f"Cannot read {file}: {exc}") from None


def _provider_tables(written: Mapping[str, Any], file: Path) -> Mapping[str, Mapping[str, Any]]:
    tables = written.get("providers", {})
    if not isinstance(tables, dict) or not all(isinstance(each, dict) for each in tables.values()):
        raise ConfigError(f"In {file}: `providers` holds one table for each provider.")
    return tables


def _refuse_unknown(written: Mapping[str, Any], file: Path) -> None:
    known = {each.name for each in settings()} | {"providers"}
    for name in written:
        if name not in known:
            raise ConfigError(f"In {file}: there is no setting `{name}`. See `waifu-llm config`.")


_KIND_NAMES = {bool: "true or false", int: "a whole number", float: "a number"}
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def _convert(each: Field[Any], value: Any, source: str) -> Any:
    kind = type(each.default)
    try:
        converted = _as_kind(kind, value)
    except (TypeError, ValueError):
        wanted = _KIND_NAMES.get(kind, "text")
        raise ConfigError(
            f"`{each.name}` (from {source}) should be {wanted}, not {_shown(each, value)}."
        ) from None
    if bound := _broken_bound(each.metadata, converted):
        raise ConfigError(f"`{each.name}` (from {source}) should be {bound}.")
    return converted


def _broken_bound(bounds: Mapping[str, Any], value: Any) -> str | None:
    """What the value should be, where it is not. A number that is none keeps no bound."""
    if "ge" in bounds and not value >= bounds["ge"]:
        return f"{bounds['ge']} or more"
    if "le" in bounds and not value <= bounds["le"]:
        return f"{bounds['le']} or less"
    if "choices" in bounds and value not in bounds["choices"]:
        return f"one of {', '.join(bounds['choices'])}"
    return None


def _shown(each: Field[Any], value: Any) -> str:
    return "this" if each.metadata["secret"] else repr(value)


def _as_kind(kind: type, value: Any) -> Any:
    if kind is bool:
        text = str(value).lower()
        if text not in _TRUE + _FALSE:
            raise ValueError
        return text in _TRUE
    if kind is tuple:
        parts = [value] if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not all(isinstance(each, str) for each in parts):
            raise TypeError
        return tuple(each.strip() for part in parts for each in part.split(",") if each.strip())
    if kind is str:
        if not isinstance(value, str):
            raise TypeError
        return value
    if isinstance(value, bool) or (kind is int and isinstance(value, float)):
        raise TypeError
    return kind(value)
