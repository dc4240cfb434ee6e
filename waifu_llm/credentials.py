"""Which settings a load gets, and whose key goes where.

What the client sends comes first, then what the operator stored: a table of the configuration,
else a variable that the provider names. A stored key goes only to the scheme, host and port that
it was stored for; a client that asks for another address brings a key of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from waifu_llm.errors import Authorization, InvalidMessage, Unsupported
from waifu_llm.specs import ProviderSpec, Setting

Values = dict[str, Any]
_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def resolve(
    spec: ProviderSpec,
    asked: Mapping[str, Any],
    stored: Mapping[str, Any],
    environ: Mapping[str, str],
) -> Values:
    """The settings to load with.

    Raises:
        Authorization: When a key is needed and none may be used.
        InvalidMessage, Unsupported: When a setting is unknown, or of the wrong type.
    """
    wanted = {name: value for name, value in asked.items() if value not in (None, "")}
    if "api_key" not in spec.settings:
        wanted.pop("api_key", None)  # clients send one with every load
    _check(spec, wanted)
    own = _stored(spec, stored, environ)
    if _goes_elsewhere(wanted, own):
        own = {name: value for name, value in own.items() if not spec.settings[name].secret}
    values = {**own, **wanted}
    _refuse_incomplete(spec, values, wanted)
    return values


def _stored(spec: ProviderSpec, stored: Mapping[str, Any], environ: Mapping[str, str]) -> Values:
    values: Values = {}
    _refuse_unknown(spec, stored)
    for name, declared in spec.settings.items():
        variable = environ.get(declared.env) if declared.env else None
        for value in (stored.get(name), variable, declared.default):
            if value not in (None, ""):
                values[name] = _from_text(name, declared, value)
                break
    _check(spec, values)
    return values


def _from_text(name: str, declared: Setting, value: Any) -> Any:
    """A variable is text, whatever it is to be."""
    if not isinstance(value, str):
        return value
    if declared.type == "boolean":
        return value.lower() in ("1", "true", "yes", "on")
    try:
        return {"integer": int, "number": float}.get(declared.type, str)(value)
    except ValueError:
        raise InvalidMessage(f"The stored `{name}` should be `{declared.type}`.") from None


def _check(spec: ProviderSpec, wanted: Values) -> None:
    _refuse_unknown(spec, wanted)
    for name, value in wanted.items():
        declared = spec.settings[name]
        wrong_boolean = isinstance(value, bool) != (declared.type == "boolean")
        if wrong_boolean or not isinstance(value, _KINDS[declared.type]):
            raise InvalidMessage(f"Expected `{declared.type}`, in `settings.{name}`.")


def _refuse_unknown(spec: ProviderSpec, named: Mapping[str, Any]) -> None:
    for name in named:
        if name in spec.settings:
            continue
        if name == "base_url":
            raise Unsupported(f"`{spec.name}` has no `base_url`: it always asks the same server.")
        known = ", ".join(sorted(spec.settings)) or "none"
        raise InvalidMessage(f"`{spec.name}` has no setting `{name}`. It has: {known}.")


def _goes_elsewhere(wanted: Values, own: Values) -> bool:
    if "base_url" not in wanted:
        return False
    asked, home = _origin(wanted["base_url"]), own.get("base_url")
    return home is None or not _is_address(home) or asked != _origin(home)


def _is_address(url: str) -> bool:
    """Some variables, as that of Ollama, hold a host alone."""
    return "://" in url


_PORTS = {"http": 80, "https": 443}


def _origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port. What two parsers could read as two hosts is refused."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        parts, port = urlsplit(""), 0
    if not parts.hostname or "\\" in url or any(character.isspace() for character in url):
        raise InvalidMessage(f"`base_url` should be an http or https address, not {url!r}.")
    return parts.scheme, parts.hostname, port


def _refuse_incomplete(spec: ProviderSpec, values: Values, wanted: Values) -> None:
    for name, declared in spec.settings.items():
        if not declared.required or name in values:
            continue
        if declared.secret and "base_url" in wanted:
            raise Authorization(
                f"`{spec.name}` needs a key for {wanted['base_url']}: send `{name}` with this "
                "`load`. A stored key goes only to the address that it was stored for."
            )
        if declared.secret:
            variable = f", or set {declared.env} for the module" if declared.env else ""
            raise Authorization(f"`{spec.name}` needs a key: send `{name}` in `load`{variable}.")
        raise InvalidMessage(f"`{spec.name}` needs the setting `{name}`: {declared.help}")
