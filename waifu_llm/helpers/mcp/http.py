"""An MCP server at an address: each message is posted, and answered in JSON or as events."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress

from waifu_llm.errors import WaifuError
from waifu_llm.helpers.addresses import Reach, Url
from waifu_llm.helpers.faults import Failed, NotReached
from waifu_llm.helpers.mcp import messages
from waifu_llm.helpers.mcp.messages import Message
from waifu_llm.helpers.outgoing import Answer, Outgoing

_GOODBYE_SECONDS = 1.0
_REPLY_SECONDS = 5.0
_PLAIN = re.compile(r"[!-~]([ -~]*[!-~])?")
_JSON, _EVENTS = "application/json", "text/event-stream"


class OverHttp:
    """The transport ("streamable HTTP"). What a server says of itself outside of answers is not
    waited for: its tools are listed anew now and then."""

    def __init__(self, outgoing: Outgoing, url: Url, reach: Reach, token: str | None) -> None:
        self._outgoing = outgoing
        self._url = url
        self._reach = reach
        self._headers = {"content-type": _JSON, "accept": f"{_JSON}, {_EVENTS}"}
        if token:
            self._headers["authorization"] = f"Bearer {token}"
        self._hear: Callable[[Message], Message | None] = lambda _: None
        self.alive = True

    async def open(self, hear: Callable[[Message], Message | None]) -> None:
        self._hear = hear

    def agreed(self, protocol: str) -> None:
        self._headers["mcp-protocol-version"] = protocol

    async def ask(self, asked: Message) -> Message:
        async with self._posted(asked) as answer:
            await self._see_that_it_is_one(answer)
            async for said in _messages_of(answer):
                if "method" not in said and said.get("id") == asked["id"]:
                    return said
                if "method" in said and (reply := self._hear(said)):
                    await self._reply(reply)
        raise Failed("It ends without an answer.")

    async def _reply(self, reply: Message) -> None:
        """Whatever becomes of that: what we asked is under way, and must not be asked again. Some
        hold it until they have answered us."""
        with suppress(WaifuError, TimeoutError):
            async with asyncio.timeout(_REPLY_SECONDS):
                await self.tell(reply)

    async def tell(self, said: Message) -> None:
        async with self._posted(said) as answer:
            await self._see_that_it_is_one(answer)

    async def close(self) -> None:
        """Where there is a session, it is told that it is over; nobody waits for long."""
        self.alive = False
        if "mcp-session-id" not in self._headers:
            return
        with suppress(WaifuError, TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                async with self._outgoing.ask(
                    "DELETE", self._url, self._reach, headers=self._headers
                ):
                    pass

    def _posted(self, said: Message) -> AbstractAsyncContextManager[Answer]:
        """What it is about stands in the head as well, for those on the way who read no body."""
        body, name = messages.encode(said), said.get("params", {}).get("name")
        about = {"mcp-method": said.get("method"), "mcp-name": _in_a_header(name) if name else None}
        headers = {**self._headers, **{key: value for key, value in about.items() if value}}
        return self._outgoing.ask("POST", self._url, self._reach, body, headers)

    async def _see_that_it_is_one(self, answer: Answer) -> None:
        """
        Raises:
            NotReached: When the session is over: with another it can be asked again.
            Failed: When it is none for any other reason.
        """
        if 200 <= answer.status < 300:
            if session := answer.headers.get("mcp-session-id"):
                self._headers["mcp-session-id"] = session
            return
        if answer.status == 404 and "mcp-session-id" in self._headers:
            self.alive = False
            raise NotReached("It has forgotten the session.")
        hint = " Is its `token_env` right?" if answer.status in (401, 403) else ""
        raise Failed(f"It answers {answer.status}{await _words_in(answer)}.{hint}")


def _in_a_header(name: str) -> str:
    """As it is, where a header can hold that."""
    if _PLAIN.fullmatch(name) and not name.startswith("=?base64?"):
        return name
    return f"=?base64?{b64encode(name.encode()).decode()}?="


async def _words_in(answer: Answer) -> str:
    """What an answer says that is none, where it says it as MCP does."""
    if answer.media_type != _JSON:
        return ""
    try:
        error = messages.decode(await answer.read()).get("error")
    except Failed:
        return ""
    return f": {messages.words_of(error)}" if isinstance(error, dict) else ""


async def _messages_of(answer: Answer) -> AsyncIterator[Message]:
    if answer.media_type == _EVENTS:
        async for event in _events(answer):
            yield messages.decode(event)
    elif answer.media_type == _JSON:
        yield messages.decode(await answer.read())
    else:
        kind = answer.headers.get("content-type", "no type")
        raise Failed(f"It answers with {kind}, which is not MCP.")


async def _events(answer: Answer) -> AsyncIterator[bytes]:
    """The data of each event of a stream. One without any only keeps the connection alive."""
    data: list[bytes] = []
    async for line in _lines(answer):
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line:
            whole = b"\n".join(data)
            data.clear()
            if whole.strip():
                yield whole


async def _lines(answer: Answer) -> AsyncIterator[bytes]:
    """A long one is put together once, and not with each of its pieces."""
    rest: list[bytes] = []
    async for piece in answer.pieces():
        first, *others = piece.split(b"\n")
        rest.append(first)
        for other in others:
            yield b"".join(rest).removesuffix(b"\r")
            rest = [other]
