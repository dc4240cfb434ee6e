"""What may stand in a setting: a value of its kind, within its bounds and of its form."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import Field
from typing import Any

from waifu_llm.config import ConfigError

_KIND_NAMES = {bool: "true or false", int: "a whole number", float: "a number"}
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def converted(each: Field[Any], value: Any, source: str) -> Any:
    """The value as its setting has it.

    Raises:
        ConfigError: When it cannot stand there; names the source, and no secret.
    """
    kind = type(each.default)
    broken: str | None
    try:
        found = _as_kind(kind, value)
    except (TypeError, ValueError, OverflowError):
        broken = f"{_KIND_NAMES.get(kind, 'text')}, not {_shown(each, value)}"
    else:
        if "choices" in each.metadata:
            found = found.lower()
        broken = _broken_bound(each.metadata, found) or _broken_form(each, found)
    if broken:
        raise ConfigError(f"`{each.name}` (from {source}) should be {broken}.")
    return found


def _broken_bound(bounds: Mapping[str, Any], value: Any) -> str | None:
    """What the value should be, where it is not."""
    if "ge" in bounds and value < bounds["ge"]:
        return f"{bounds['ge']} or more"
    if "le" in bounds and value > bounds["le"]:
        return f"{bounds['le']:.0f} or less"
    if "choices" in bounds and value not in bounds["choices"]:
        return f"one of {', '.join(bounds['choices'])}"
    return None


def _broken_form(each: Field[Any], value: Any) -> str | None:
    """The same for a text, or for each text of a list."""
    pattern, meaning = each.metadata.get("form", ("", ""))
    for text in value if isinstance(value, tuple) else (value,):
        if pattern and not re.fullmatch(pattern, text):
            return f"{meaning}, not {_shown(each, text)}"
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
    number = kind(value)
    if not math.isfinite(number):
        raise ValueError
    return number
