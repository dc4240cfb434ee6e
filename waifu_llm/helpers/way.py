"""How a helper is asked: over HTTP, by MCP, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct

from waifu_llm.helpers.faults import NotReached


class Capability(Struct, frozen=True):
    """One thing that a helper can do."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = None


class Way(Protocol):
    """The way to one helper. Whoever uses it says how long that may take, by cancelling it."""

    kind: str

    @property
    def shown(self) -> str | None:
        """Where it leads, without a secret."""

    @property
    def capabilities(self) -> Mapping[str, Capability]:
        """What it can do, as far as that is known now."""

    async def call(self, capability: str, data: Mapping[str, Any]) -> Any:
        """The helper's answer, as it gave it.

        Raises:
            NotReached: When nothing came to it.
            Refused: When it does not take the data.
            Failed: When its answer is none.
        """

    async def check(self) -> None:
        """
        Raises:
            WaifuError: When it is not well.
        """

    async def close(self) -> None: ...


class NoWay:
    """Of a helper that named no address: it is listed, and cannot be asked."""

    kind = "listed"
    shown = None

    def __init__(self, name: str, capabilities: Mapping[str, Capability]) -> None:
        self._name = name
        self.capabilities = capabilities

    async def call(self, capability: str, data: Mapping[str, Any]) -> Any:
        raise NotReached(
            f"`{self._name}` can do `{capability}`, but registered without a `url`: nobody knows "
            "where to ask it."
        )

    async def check(self) -> None:
        """There is nothing to look at."""

    async def close(self) -> None: ...
