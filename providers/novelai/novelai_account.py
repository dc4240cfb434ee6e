"""What a subscription allows."""

from __future__ import annotations

from typing import Optional

import msgspec
from msgspec import Struct
from waifu_http import nonsense
from waifu_provider import ProviderError

_CONTEXTS = {1: 4096, 2: 8192, 3: 8192}
_LENGTHS = {3: 250}
_LEAST_CONTEXT, _LEAST_LENGTH = 3072, 150


class Perks(Struct):
    contextTokens: Optional[int] = None


class Subscription(Struct):
    active: bool = False
    tier: int = 0
    perks: Optional[Perks] = None


class Account(Struct):
    """In tokens."""

    context: int
    longest_answer: int


def account_in(data):
    """A server that knows no accounts, as one of your own, has no limits of its own either."""
    if not data:
        return Account(max(_CONTEXTS.values()), max(_LENGTHS.values()))
    try:
        found = msgspec.json.decode(data, type=Subscription)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise nonsense(exc, data) from None
    if not found.active:
        raise ProviderError(
            "QUOTA_EXCEEDED",
            "No subscription is active on this NovelAI account. Renew it at https://novelai.net.",
        )
    told = found.perks.contextTokens if found.perks else None
    context = told or _CONTEXTS.get(found.tier, _LEAST_CONTEXT)
    return Account(context, _LENGTHS.get(found.tier, _LEAST_LENGTH))
