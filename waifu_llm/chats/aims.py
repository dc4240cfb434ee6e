"""What a registered provider stands for: an address, or one of the module's own by its name."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from waifu_llm import credentials
from waifu_llm.engine import Engine
from waifu_llm.errors import Authorization, InvalidMessage, WaifuError
from waifu_llm.holdings import Asked
from waifu_llm.secrecy import is_secret_address

COMPATIBLE = "openai-compatible"
"""Who asks an address that is registered."""


class Aim(Struct, frozen=True):
    """What a registered provider stands for."""

    api_endpoint: str | None
    provider: str | None

    def home(self, engine: Engine) -> tuple[str, str]:
        """Which provider asks, and the origin that its key may go to."""
        if self.api_endpoint is not None:
            return COMPATIBLE, credentials.origin(self.api_endpoint)
        assert self.provider is not None
        return engine.key_home(self.provider)

    def is_at_home_with(self, other: Aim, engine: Engine) -> bool:
        """Whether a key for the one may go to the other."""
        try:
            return self == other or self.home(engine) == other.home(engine)
        except WaifuError:  # what it stood for is there no more
            return False


def aim_of(data: Any, engine: Engine, otherwise: str = "") -> Aim:
    """`otherwise` is tried as a provider's name where none is given.

    Raises:
        InvalidMessage: When it stands for nothing that can be asked.
    """
    if data.api_endpoint and data.provider:
        raise InvalidMessage("There are `api_endpoint` and `provider`: give one of them.")
    if data.api_endpoint:
        return Aim(_checked(data.api_endpoint), None)
    name = data.provider or otherwise
    if name not in engine.providers():
        raise InvalidMessage(
            f"Missing `api_endpoint`, in `data`; and `{name}` is none of the module's own "
            f"providers: {', '.join(engine.providers())}."
        )
    return Aim(None, name)


def _checked(endpoint: str) -> str:
    """
    Raises:
        InvalidMessage: When it is no address, or holds a secret: that would be in the store.
    """
    try:
        credentials.origin(endpoint)
    except InvalidMessage:
        raise InvalidMessage("`api_endpoint` should be an http or https address.") from None
    if is_secret_address(endpoint):
        raise InvalidMessage("`api_endpoint` holds a password or a key: send it as `api_key`.")
    return endpoint


def named_key(data: Any, aim: Aim, engine: Engine) -> str | None:
    """A key of the operator's, by its name. What was sent is not shown: it might be a key."""
    if data.key is None:
        return None
    if not engine.stored.has_key(*aim.home(engine), data.key):
        raise Authorization(
            "There is no stored key of the name that `key` gives, for this provider."
        )
    name: str = data.key
    return name


def asked_of(name: str, api_endpoint: str | None, provider: str | None, key: str | None) -> Asked:
    """What is loaded for a registered provider."""
    if api_endpoint is None:
        assert provider is not None
        return Asked(provider, key=key)
    settings: dict[str, Any] = {"base_url": api_endpoint, "exact": True}
    return Asked(COMPATIBLE, settings, alias=name, key=key)
