"""The way to an MCP server: opened when it is wanted, opened again when it is gone."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from waifu_llm.errors import ProviderCrashed
from waifu_llm.helpers.faults import Failed, NotReached
from waifu_llm.helpers.mcp import messages
from waifu_llm.helpers.mcp.messages import Message
from waifu_llm.helpers.mcp.session import Session, Transport
from waifu_llm.helpers.schemas import misfit
from waifu_llm.helpers.way import Capability
from waifu_llm.redaction import Redactor
from waifu_llm.restarts import Restarts
from waifu_llm.tasks import Tasks

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST = 64
_IN_HEADS = b'"x-mcp-header":'
_MOST_SILENCES = 3
LOOK_SECONDS = 4.0
"""Less than a look may take."""
START_SECONDS = 120.0
"""Until a server is ready, which may have to be fetched first."""
_MOST_DESCRIPTION = 4096


class McpWay:
    """Its capabilities are the server's tools, each under the helper's name: `files_read_file`."""

    kind = "mcp"

    def __init__(
        self,
        name: str,
        shown: str | None,
        transport: Callable[[], Transport],
        only: Collection[str] = (),
        *,
        far: bool = False,
        redactor: Redactor | None = None,
    ) -> None:
        self.shown = shown
        self.capabilities: dict[str, Capability] = {}
        self._name = name
        self._transport = transport
        self._only = frozenset(only)
        self._far = far
        """Whether it is at an address: it is not started by us, and does not say when its tools
        change."""
        self._redactor = redactor or Redactor()
        self._tools: dict[str, str] = {}
        self._session: Session | None = None
        self._opening: asyncio.Task[None] | None = None
        self._restarts = Restarts()
        self._silences = 0
        self._tasks = Tasks()
        self._closed = False

    async def call(self, capability: str, data: Mapping[str, Any]) -> Any:
        session = await self._at_hand()
        try:
            return await self._call(session, capability, data)
        except NotReached:  # it has forgotten us: once more, by another session
            return await self._call(await self._at_hand(), capability, data)

    async def _call(self, session: Session, capability: str, data: Mapping[str, Any]) -> Any:
        if capability not in self._tools:
            raise Failed(f"It has no `{capability}` any more.")
        return await session.call(self._tools[capability], data)

    async def check(self) -> None:
        """One that says nothing, time after time, is given up: the next is begun anew."""
        await self._see_that_it_is_ready()
        try:
            session = await self._at_hand()  # who was silent is asked for its tools here already
            if self._far:
                session.changed = True
            else:
                await session.ping()
            await self._list(session)
        except asyncio.CancelledError:
            self._silences += 1
            if self._silences >= _MOST_SILENCES:
                self._give_up()
            raise
        self._silences = 0

    async def close(self) -> None:
        self._closed = True
        if self._opening:
            self._opening.cancel()
            await asyncio.wait([self._opening])  # it ends aside what it began
        self._give_up()
        await self._tasks.over()

    async def _see_that_it_is_ready(self) -> None:
        """
        Raises:
            NotReached: When it is still starting, which is no silence.
        """
        if self._session is None:
            opening = self._begin()
            await asyncio.wait([opening], timeout=LOOK_SECONDS)
            if not opening.done():
                raise NotReached("It is still starting.")
            opening.result()

    async def _at_hand(self) -> Session:
        """Who stops to wait for it does not stop it: a first start may take long.

        Raises:
            WaifuError: When it cannot be opened, or has died too often.
        """
        if self._session and not self._session.alive:
            self._give_up()
        if self._session is None:
            await asyncio.shield(self._begin())
        session = self._session
        if session is None:
            raise NotReached("It was closed at this moment.")
        await self._list(session)
        return session

    def _begin(self) -> asyncio.Task[None]:
        """Its opening: that of another, if it is under way."""
        if self._opening is None or self._opening.done():
            self._opening = self._tasks.start(self._open())
        return self._opening

    async def _open(self) -> None:
        if self._closed:
            raise NotReached("It is closed.")
        if not self._far:
            await self._pause()
        session = Session(self._transport())
        try:
            async with asyncio.timeout(START_SECONDS):
                await session.open()
        except BaseException as exc:
            self._restarts.note_death()
            self._tasks.start(session.close())
            if isinstance(exc, TimeoutError):
                raise NotReached(f"It is not ready within {START_SECONDS:g} s.") from None
            raise
        self._session = session

    async def _pause(self) -> None:
        """One that dies and dies is started later and later, and then not for a while."""
        try:
            self._restarts.refuse(f"helper-{self._name}")  # as its log is called
        except ProviderCrashed as error:
            raise NotReached(error.message) from None
        await asyncio.sleep(self._restarts.pause())

    def _give_up(self) -> None:
        """It is gone, or as good as. It is ended aside."""
        session, self._session = self._session, None
        if session:
            self._silences = 0
            self._restarts.note_death()
            self._tasks.start(session.close())

    async def _list(self, session: Session) -> None:
        if not session.changed:
            return
        listed = map(self._redactor.clean_within, await session.tools())
        wanted = [each for each in listed if self._is_wanted(each)]
        names = {self._name_of(each["name"]): each for each in wanted}
        self._tools = {name: each["name"] for name, each in names.items()}
        self.capabilities = {name: _capability(name, each) for name, each in names.items()}

    def _is_wanted(self, tool: Any) -> bool:
        """What wants its arguments in the head of a request cannot be asked here; and what nobody
        can look into is no tool after it was cleaned."""
        if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
            return False
        if self._far and _IN_HEADS in messages.encode(tool):
            return False
        return not self._only or tool["name"] in self._only

    def _name_of(self, tool: str) -> str:
        """As every vendor takes it. What is cut bears a mark of the whole."""
        name = _NOT_IN_NAMES.sub("_", f"{self._name}_{tool}")
        if len(name) <= _LONGEST:
            return name
        return f"{name[: _LONGEST - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _capability(name: str, tool: Message) -> Capability:
    """A schema that no model would be given is left out: the server itself looks at what comes."""
    about = tool.get("description") or tool.get("title") or ""
    schema = tool.get("inputSchema")
    return Capability(name, str(about)[:_MOST_DESCRIPTION], None if misfit(schema) else schema)
