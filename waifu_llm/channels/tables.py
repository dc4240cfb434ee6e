"""The tables `[channels.NAME]` of the configuration, read: who answers there, and what a kind of
channel asks for beside."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from waifu_llm.channels.channel import Channel
from waifu_llm.channels.persona import Limits, Persona
from waifu_llm.config import ConfigError
from waifu_llm.stored import secret_variable

T = TypeVar("T", bound=Struct)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_COMMON = ("kind", "limits")


class Table(Struct, frozen=True):
    """One channel, as far as that can be read without its kind."""

    name: str
    kind: str
    persona: Persona
    limits: Limits
    own: dict[str, Any]


def read(tables: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """
    Raises:
        ConfigError: With the table, and the place in it that is wrong.
    """
    return [_read_one(name, table) for name, table in tables.items()]


def _read_one(name: str, table: Mapping[str, Any]) -> Table:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"`channels.{name}` is no name for a channel: small letters, digits, `_` and `-`, at "
            "most 32."
        )
    kind = table.get("kind", name)
    if not isinstance(kind, str):
        raise ConfigError(f"In {_place(name)}: `kind` is a text.")
    theirs = {each: table[each] for each in Persona.__struct_fields__ if each in table}
    known = (*Persona.__struct_fields__, *_COMMON)
    return Table(
        name,
        kind,
        _converted(theirs, Persona, _place(name)),
        _converted(table.get("limits", {}), Limits, f"[channels.{name}.limits]"),
        {each: value for each, value in table.items() if each not in known},
    )


def settings_of(table: Table, channel: type[Channel]) -> Struct:
    """What the kind of channel asks for.

    Raises:
        ConfigError: As above.
    """
    _refuse_secrets(table, channel)
    known = sorted({*channel.Settings.__struct_fields__, *Persona.__struct_fields__, *_COMMON})
    _refuse_unknown(table.own, channel.Settings.__struct_fields__, known, _place(table.name))
    return _converted(table.own, channel.Settings, _place(table.name))


def _refuse_secrets(table: Table, channel: type[Channel]) -> None:
    for secret in channel.SECRETS:
        if secret in table.own:
            raise ConfigError(
                f"In {_place(table.name)}: `{secret}` is a secret, and is not kept in this file. "
                f"Run: waifu-llm keys set {owner(table.name)} {secret}"
            )


def owner(name: str) -> str:
    """Under which name a channel's secrets are kept."""
    return f"channels.{name}"


def missing(name: str, secret: str) -> ConfigError:
    return ConfigError(
        f"The channel `{name}` needs its `{secret}`. Run: waifu-llm keys set {owner(name)} "
        f"{secret}, or set {secret_variable(owner(name), secret)}."
    )


def _place(name: str) -> str:
    return f"[channels.{name}]"


def _converted(values: Any, kind: type[T], place: str) -> T:
    if isinstance(values, Mapping):
        _refuse_unknown(values, kind.__struct_fields__, kind.__struct_fields__, place)
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"In {place}: {_in_words(str(exc))}.") from None


def _refuse_unknown(
    values: Mapping[str, Any], fields: Collection[str], told: Collection[str], place: str
) -> None:
    for name in values:
        if name not in fields:
            raise ConfigError(
                f"In {place}: there is no setting `{name}`. Known: {', '.join(told)}."
            )


def _in_words(said: str) -> str:
    missing_field = re.match(r"Object missing required field `(\w+)`", said)
    return f"`{missing_field[1]}` is missing" if missing_field else said
