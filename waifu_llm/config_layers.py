"""From flags, variables and a file to one Config: the first of them that names a setting holds."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from waifu_llm.config import TABLES, Config, ConfigError, settings
from waifu_llm.setting_values import converted

Tables = Mapping[str, Mapping[str, Mapping[str, Any]]]


def resolve(flags: Mapping[str, Any], environ: Mapping[str, str], file: Path) -> Config:
    """Put the layers together. A variable that is empty is one that is not set.

    Raises:
        ConfigError: When a value cannot be, or the file cannot be read.
    """
    written = _read(file)
    values: dict[str, Any] = {**_tables(written, file)}
    sources: dict[str, str] = {}
    for each in settings():
        variable = f"WAIFU_LLM_{each.name.upper()}"
        layers = [
            (flags.get(each.name), f"--{each.name.replace('_', '-')}"),
            (environ.get(variable) or None, variable),
            (written.get(each.name), str(file)),
        ]
        for value, source in layers:
            if value is not None:
                values[each.name] = converted(each, value, source)
                sources[each.name] = source
                break
    _refuse_unknown(written, file)
    if values.get("rabbitmq") and not values.get("store"):  # it brings what is to be kept
        values["store"], sources["store"] = "sqlite", sources["rabbitmq"]
    config = Config(**values, sources=sources)
    _check_together(config)
    return config


def _check_together(config: Config) -> None:
    for there, missing in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if getattr(config, there) and not getattr(config, missing):
            source = config.source(there)
            raise ConfigError(f"`{there}` (from {source}) needs `{missing}`, which is not set.")


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8-sig"))  # Windows' editor writes a mark first
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise ConfigError(f"Cannot read {file}: {exc.strerror or exc}.") from None
    except ValueError as exc:
        raise ConfigError(f"Cannot read {file}: {exc}.") from None


def read_tables(file: Path) -> Tables:
    """The tables alone, as they are in the file now.

    Raises:
        ConfigError: As above.
    """
    written = _read(file)
    _refuse_unknown(written, file)
    return _tables(written, file)


def _tables(written: Mapping[str, Any], file: Path) -> Tables:
    found = {name: written.get(name, {}) for name in TABLES}
    for name, tables in found.items():
        whole = isinstance(tables, dict) and all(isinstance(each, dict) for each in tables.values())
        if not whole:
            raise ConfigError(f"In {file}: `{name}` holds one table for each {name[:-1]}.")
    return found


def _refuse_unknown(written: Mapping[str, Any], file: Path) -> None:
    known = {each.name for each in settings()} | set(TABLES)
    for name in written:
        if name not in known:
            raise ConfigError(f"In {file}: there is no setting `{name}`. See `waifu-llm config`.")
