"""A talk with one MCP server: introduced, its tools listed, and called."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

from waifu_llm.helpers.faults import Failed, NotReached, Refused
from waifu_llm.helpers.mcp import messages
from waifu_llm.helpers.mcp.messages import Message
from waifu_llm.tasks import Tasks

MOST_TOOLS = 256
_MOST_PAGES = 64
_CALL_OFF_SECONDS = 1.0
_DISCOVER = "server/discover"
_DISCOVER_SECONDS = 10.0
"""It is up, for it has refused us: silence is no slowness."""
_CHANGED = "notifications/tools/list_changed"


class Transport(Protocol):
    """Carries messages to one server and back. It is used once."""

    async def open(self, hear: Callable[[Message], Message | None]) -> None:
        """`hear` is given what the server says of itself, and returns what it is answered."""

    async def ask(self, asked: Message) -> Message:
        """The answer to this request.

        Raises:
            NotReached: When it did not come there.
            Failed: When there is no answer.
        """

    async def tell(self, said: Message) -> None:
        """What is not answered."""

    def agreed(self, protocol: str) -> None:
        """The version that is spoken from now on."""

    @property
    def alive(self) -> bool: ...

    async def close(self) -> None: ...


class Session:
    """Open it before anything else, and close it whatever became of that."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._next = 0
        self._with_each: Message = {}
        self._aside = Tasks()
        self.changed = True
        """Whether the tools may be others than those that were listed."""

    async def open(self) -> None:
        """
        Raises:
            WaifuError: When it is no server that is understood.
        """
        await self._transport.open(self._hear)
        try:
            await self._introduce()
        except (Failed, Refused) as refusal:
            if isinstance(refusal, NotReached) or not await self._takes_us_without():
                raise

    async def _introduce(self) -> None:
        told = await self._ask("initialize", messages.INTRODUCTION)
        version = told.get("protocolVersion")
        if version not in messages.KNOWN:
            known = ", ".join(messages.KNOWN)
            raise Failed(f"It speaks MCP in the version {version!r}; known are {known}.")
        self._transport.agreed(str(version))
        await self._transport.tell(messages.notification("notifications/initialized"))

    async def _takes_us_without(self) -> bool:
        """Whether it is one of those that are not introduced. They are asked second: of the others
        some say nothing to what they do not know."""
        self._transport.agreed(messages.STATELESS)
        self._with_each = messages.IN_EACH_REQUEST
        try:
            async with asyncio.timeout(_DISCOVER_SECONDS):
                told = await self._ask(_DISCOVER, {})
        except (Failed, Refused, TimeoutError):
            return False
        versions = told.get("supportedVersions")
        return isinstance(versions, list) and messages.STATELESS in versions

    @property
    def alive(self) -> bool:
        return self._transport.alive

    async def tools(self) -> list[Message]:
        """All that it has, page after page. What was not heard whole is asked for again."""
        self.changed = False  # before it is asked: they may change meanwhile
        try:
            return await self._all_pages()
        except BaseException:
            self.changed = True
            raise

    async def _all_pages(self) -> list[Message]:
        found: list[Message] = []
        cursor: dict[str, Any] = {}
        for _ in range(_MOST_PAGES):
            page = await self._ask("tools/list", cursor)
            listed = page.get("tools")
            found += [each for each in listed or () if isinstance(each, dict)]
            if not page.get("nextCursor") or len(found) >= MOST_TOOLS:
                break
            cursor = {"cursor": page["nextCursor"]}
        return found[:MOST_TOOLS]

    async def call(self, name: str, arguments: Any) -> Any:
        """What the tool gave.

        Raises:
            WaifuError: When it gave nothing.
        """
        asked = {"name": name, "arguments": arguments}
        return messages.value_of(await self._ask("tools/call", asked))

    async def ping(self) -> None:
        await self._ask(_DISCOVER if self._with_each else "ping", {})

    async def close(self) -> None:
        await self._transport.close()
        self._aside.cancel()
        await self._aside.over()

    async def _ask(self, method: str, params: Message) -> Message:
        self._next += 1
        number = self._next
        asked = messages.request(number, method, {**params, **self._with_each})
        asking: Awaitable[Message] = self._transport.ask(asked)
        try:
            return messages.result_of(await asking)
        except asyncio.CancelledError:
            if method != "initialize":
                self._aside.start(self._call_off(number))
            raise

    async def _call_off(self, number: int) -> None:
        """Nobody waits any longer: neither for the answer, nor for this to be heard. It is said to
        who is there to hear it, and to no other."""
        if self._transport.alive:
            told = messages.notification("notifications/cancelled", {"requestId": number})
            with suppress(TimeoutError):
                async with asyncio.timeout(_CALL_OFF_SECONDS):
                    await self._transport.tell(told)

    def _hear(self, said: Message) -> Message | None:
        if said.get("method") == _CHANGED:
            self.changed = True
        return messages.answer_to(said) if messages.is_request(said) else None
