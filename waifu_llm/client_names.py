"""How applications say which user, chat, provider or LLM an instruction is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

Id = str | int
"""What the module gave, or the number that every row has as well."""


class User(TypedDict, total=False):
    """Who is meant, or who asks: one of these."""

    user_id: Id
    username: str


class Members(TypedDict, total=False):
    """Who is in a chat: these, those, or both together."""

    user_ids: Sequence[Id]
    usernames: Sequence[str]


class NewChat(User, Members):
    """Who will be in it, and who asks."""


class Provider(TypedDict, total=False):
    """Which registered provider is meant: one of these."""

    provider_id: Id
    provider_name: str


class Llm(Provider, total=False):
    """Which LLM: by its id, or by its name and that of its provider."""

    llm_id: Id
    llm_name: str


class Reach(TypedDict, total=False):
    """What a registered provider is: an address that is used exactly as given, or one of the
    module's own, as `provider`; and its key, or the name of a key that the operator stored."""

    api_endpoint: str
    provider: str
    api_key: str
    key: str


class Part(TypedDict, total=False):
    """Of a list: at most so many, after this one."""

    limit: int
    after: Id


class UsersPart(User, Part):
    """Part of what is one user's."""


class ProvidersPart(Provider, Part):
    """Part of what is one provider's."""
