"""Which settings a load gets, and whose key goes where.

What the client sends comes first, then what the operator stored: the profile that was named, the
provider's table of the configuration, a variable that the provider names, and the key that was
stored as the default one. A stored key that is named comes before all but the client's own.

A stored key goes only to the origin that it was stored for: the scheme, host and port. A client
that asks for another address brings a key of its own, or names one that is stored for there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from waifu_llm.errors import Authorization, InvalidMessage, Unsupported
from waifu_llm.keys import DEFAULT
from waifu_llm.specs import ProviderSpec, Setting

KEY, ADDRESS = "api_key", "base_url"
Values = dict[str, Any]
FindKey = Callable[[str, str], str | None]
"""The stored key for an origin, by its name."""
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
    *,
    profile: Mapping[str, Any] | None = None,
    key: str | None = None,
    find_key: FindKey = lambda *_: None,
) -> Values:
    """The settings to load with. `key` is the name of a stored one.

    Raises:
        Authorization: When a key is needed and none may be used, or the one that was named is
            not there.
        InvalidMessage, Unsupported: When a setting is unknown, of the wrong type or out of bounds.
    """
    wanted = {name: value for name, value in asked.items() if value not in (None, "")}
    if KEY not in spec.settings:
        wanted.pop(KEY, None)  # clients send one with every load
    _check(spec, wanted)
    _check(spec, dict(profile or {}))
    own = _upon(spec, _stored(spec, stored, environ), dict(profile or {}))
    values = _upon(spec, own, wanted)
    if KEY not in wanted:
        values |= _stored_key(spec, values, key, find_key)
    _refuse_incomplete(spec, values)
    return values


def home_of(spec: ProviderSpec, stored: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """The origin that it asks where a load names no address; "" where it has none to choose."""
    address = _stored(spec, stored, environ).get(ADDRESS)
    return origin(address) if address else ""


def _upon(spec: ProviderSpec, lower: Values, upper: Values) -> Values:
    """Whose address it is, his keys: those of the lower stay behind where the upper goes
    elsewhere."""
    if _goes_elsewhere(upper, lower):
        lower = {name: value for name, value in lower.items() if not spec.settings[name].secret}
    return {**lower, **upper}


def _stored_key(spec: ProviderSpec, values: Values, name: str | None, find: FindKey) -> Values:
    """One that is named is meant, the default one only where there is no other."""
    if KEY not in spec.settings:
        if name:
            raise InvalidMessage(f"`{spec.name}` takes no key: leave `key` out.")
        return {}
    if KEY in values and not name:
        return {}
    there = origin(values[ADDRESS]) if ADDRESS in values else ""
    found = find(there, name or DEFAULT)
    if name and not found:
        where = f" for {there}" if there else ""
        at = f" --base-url {there}" if _is_elsewhere(spec, values.get(ADDRESS)) else ""
        raise Authorization(
            f"`{spec.name}` has no stored key `{name}`{where}. "
            f"Store it with `waifu-llm keys set {spec.name} {name}{at}`."
        )
    return {KEY: found} if found else {}


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
    return _with_scheme(values)


def _with_scheme(values: Values) -> Values:
    """Some variables hold a host alone, as that of Ollama does."""
    address = values.get(ADDRESS)
    bare = isinstance(address, str) and "://" not in address
    return {**values, ADDRESS: f"http://{address}"} if bare else values


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
        if not declared.is_within(value):
            raise InvalidMessage(f"`{name}` should be {declared.bounds}, and not {value}.")


def _refuse_unknown(spec: ProviderSpec, named: Mapping[str, Any]) -> None:
    for name in named:
        if name in spec.settings:
            continue
        if name == "base_url":
            raise Unsupported(f"`{spec.name}` has no `base_url`: it always asks the same server.")
        known = ", ".join(sorted(spec.settings)) or "none"
        raise InvalidMessage(f"`{spec.name}` has no setting `{name}`. It has: {known}.")


def _goes_elsewhere(wanted: Values, own: Values) -> bool:
    if ADDRESS not in wanted:
        return False
    home = own.get(ADDRESS)
    return home is None or origin(wanted[ADDRESS]) != origin(home)


_PORTS = {"http": 80, "https": 443}


def origin(url: str) -> str:
    """Scheme, host and port, always written alike.

    Raises:
        InvalidMessage: When it is no address, or two parsers could read two hosts in it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        parts, port = urlsplit(""), 0
    if not parts.hostname or "\\" in url or any(character.isspace() for character in url):
        raise InvalidMessage(f"`base_url` should be an http or https address, not {url!r}.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    usual = port == _PORTS[parts.scheme]
    return f"{parts.scheme}://{host}" if usual else f"{parts.scheme}://{host}:{port}"


def _refuse_incomplete(spec: ProviderSpec, values: Values) -> None:
    for name, declared in spec.settings.items():
        if not declared.required or name in values:
            continue
        if declared.secret:
            raise Authorization(_ask_for_key(spec, name, values.get(ADDRESS)))
        bounds = f" ({declared.bounds})" if declared.bounds else ""
        raise InvalidMessage(f"`{spec.name}` needs the setting `{name}`{bounds}: {declared.help}")


def _is_elsewhere(spec: ProviderSpec, address: str | None) -> bool:
    """Whether this is not where the provider asks by itself."""
    home = spec.settings.get(ADDRESS, Setting()).default
    return bool(address) and (home is None or origin(str(address)) != origin(str(home)))


def _ask_for_key(spec: ProviderSpec, name: str, address: str | None) -> str:
    declared = spec.settings[name]
    store = f"`waifu-llm keys set {spec.name}`"
    if address and _is_elsewhere(spec, address):
        there = origin(address)
        return (
            f"`{spec.name}` needs a key for {there}: send `{name}` with this `load`, or store one "
            f"with {store[:-1]} --base-url {there}`. A stored key goes only to the address that it "
            "was stored for."
        )
    variable = f", or set {declared.env} for the module" if declared.env else ""
    return f"`{spec.name}` needs a key: send `{name}` in `load`, store one with {store}{variable}."
