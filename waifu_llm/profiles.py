"""Profiles: a name for a provider with its model, key, parameters and persona.

They stand in the configuration, and are asked for wherever a provider is. What a client sends
comes before what its profile says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from waifu_llm.backend import Request
from waifu_llm.config import ConfigError
from waifu_llm.conversation import Message, Params, Penalties, Text
from waifu_llm.keys import KeyName

ProfileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
_NOT_HERE = ("model_id", "character_name", "reasoning")
"""Parameters that a profile has another word for, and what the client alone can want to hear."""


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """What stands under one name."""

    provider: Text
    model: Annotated[str, Meta(max_length=512)] = ""
    key: KeyName | None = None
    """The name of a stored key."""
    base_url: str = ""
    settings: dict[str, str | int | float | bool] = {}
    parameters: Params = Params()
    persona: str = ""
    character_name: Annotated[str, Meta(max_length=512)] = ""

    @property
    def load_settings(self) -> dict[str, Any]:
        return {**self.settings, **({"base_url": self.base_url} if self.base_url else {})}

    def first_of(self, models: list[str]) -> list[str]:
        """Its own before the provider's others: who takes the first takes that."""
        own = [self.model] if self.model else []
        return [*own, *(each for each in models if each != self.model)]


def read(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Profile]:
    """
    Raises:
        ConfigError: With the profile and the place in it that is wrong.
    """
    return {name: _read_one(name, table) for name, table in tables.items()}


def _read_one(name: str, table: Mapping[str, Any]) -> Profile:
    try:
        msgspec.convert(name, ProfileName)
        profile = msgspec.convert(table, Profile)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"In the profile `{name}`: {exc}.") from None
    known = [each for each in Params.__struct_fields__ if each not in _NOT_HERE]
    for parameter in table.get("parameters", {}):
        if parameter not in known:
            raise ConfigError(
                f"In the profile `{name}`: there is no parameter `{parameter}`. "
                f"Known: {', '.join(known)}."
            )
    return profile


def see_no_clash(names: Collection[str], providers: Collection[str]) -> None:
    """
    Raises:
        ConfigError: When a profile is named like a provider: which is meant could not be known.
    """
    for name in names:
        if name in providers:
            raise ConfigError(
                f"The profile `{name}` is named like a provider. Give it another name."
            )


def apply(profile: Profile | None, request: Request) -> Request:
    """The request with what it leaves to its profile."""
    if profile is None:
        return request
    return msgspec.structs.replace(
        request,
        messages=_with_persona(profile, request),
        params=_with_parameters(profile, request.params),
    )


def _with_persona(profile: Profile, request: Request) -> list[Message]:
    """A client that begins with a system message has a persona of its own. Those that come later
    are remarks, and replace nothing."""
    messages = request.messages
    if not profile.persona or not messages or messages[0].role == "system":
        return messages
    return [Message("system", profile.persona), *messages]


def _with_parameters(profile: Profile, sent: Params) -> Params:
    values = {
        **_given(profile.parameters),
        "model_id": profile.model or None,
        "character_name": profile.character_name or None,
        **_given(sent),
    }
    for name in ("penalties", "extra"):
        values[name] = _merged(getattr(profile.parameters, name), getattr(sent, name))
    return Params(**values)


def _given(params: Params) -> dict[str, Any]:
    """What is not left out. A name that is empty is none."""
    values = msgspec.structs.asdict(params)
    return {name: value for name, value in values.items() if value not in (None, "")}


def _merged(below: Any, above: Any) -> Any:
    """Of these the parts count, not the whole."""
    if below is None or above is None:
        return above if below is None else below
    if isinstance(above, Penalties):
        parts = msgspec.structs.asdict(above).items()
        given = {name: value for name, value in parts if value is not None}
        return msgspec.structs.replace(below, **given)
    return {**below, **above}
