"""Instructions over HTTP: users, chats, messages, and the LLMs that answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from waifu_llm.chats.fields import Limit
from waifu_llm.chats.instructions import Instructions
from waifu_llm.chats.order import LONG, SHORT, TYPES
from waifu_llm.doors.http.connection import Connection
from waifu_llm.doors.http.failures import failure
from waifu_llm.doors.http.instruction_table import LINES, Line
from waifu_llm.doors.http.messages import Answer
from waifu_llm.doors.http.openai_routes import EVENTS
from waifu_llm.doors.http.routes import Exchange, Parameter, Route
from waifu_llm.doors.http.streams import Kind, Stream
from waifu_llm.errors import InvalidMessage, NotFound, WaifuError
from waifu_llm.generation import Final

LONGEST_KEY = 200
_Word = Annotated[str, Meta(min_length=1)]
_QUERY = {
    "user_id": Parameter("Who asks: a user's id or number.", _Word),
    "username": Parameter("The same, by name.", _Word),
    "limit": Parameter("At most so many.", Limit),
    "after": Parameter("Of a list, what comes after this one.", _Word),
    "before": Parameter("Of a chat, what came before this message.", _Word),
    "provider_id": Parameter("Of which provider.", _Word),
    "provider_name": Parameter("The same, by name.", _Word),
}
_encode = msgspec.json.Encoder().encode


class Answered(Struct):
    """What came of an instruction."""

    status: Literal["success", "error"]
    message: str
    data: dict[str, Any]


class NotAnswered(Struct):
    """The same, where it did not go well; `error` is the code of what went wrong."""

    status: Literal["error"]
    message: str
    data: dict[str, Any]
    error: str


def ANSWERED(error: WaifuError) -> NotAnswered:
    return NotAnswered("error", error.message, {}, error.code)


def _without(data: type[Struct], in_path: set[str], type: str) -> Any:
    """What the body holds when the rest stands in the path; and whether it is to be streamed."""
    named = [
        (each.name, each.type) if each.required else (each.name, each.type, each.default)
        for each in msgspec.structs.fields(data)
        if each.name not in in_path
    ]
    more = [("stream", bool | None, None)] if type in LONG else []
    return msgspec.defstruct(f"{data.__name__}Body{type.title()}", [*named, *more], kw_only=True)


class InstructionRoutes:
    """Hands them to whoever carries them out."""

    def __init__(self, instructions: Instructions | None) -> None:
        self._instructions = instructions

    def routes(self) -> list[Route]:
        return [*map(self._route, LINES), self._by_name()]

    def _route(self, line: Line) -> Route:
        data = LONG[line.type] if line.type in LONG else SHORT[line.type].data
        has_body = line.method in ("POST", "PATCH")
        in_path = {part[1:-1] for part in line.path.split("/") if part.startswith("{")}
        fields = set(data.__struct_fields__) - in_path
        return Route(
            method=line.method,
            path=line.path,
            handler=partial(self._carry_out, line.type),
            summary=f"{line.summary} It is the instruction {line.type}.",
            takes=dict[str, Any] if has_body else None,
            like=_without(data, in_path, line.type) if has_body else None,
            gives=Answered,
            query={} if has_body else {n: each for n, each in _QUERY.items() if n in fields},
            streams=EVENTS if line.type in LONG else "",
            tag="chats",
            shape=ANSWERED,
        )

    def _by_name(self) -> Route:
        return Route(
            method="POST",
            path="/v1/instructions/{type}",
            handler=self._carry_out_named,
            summary="Any instruction by its type, with its data.",
            takes=dict[str, Any],
            gives=Answered,
            streams=EVENTS,
            tag="chats",
            shape=ANSWERED,
        )

    async def _carry_out_named(self, exchange: Exchange) -> Answer | None:
        type = exchange.params["type"].upper()
        if type not in TYPES:
            raise NotFound(f"There is no instruction `{type}`. Known: {', '.join(TYPES)}.")
        return await self._do(type, exchange, exchange.body)

    async def _carry_out(self, type: str, exchange: Exchange) -> Answer | None:
        data = {**_asked(exchange.head.query), **(exchange.body or {}), **exchange.params}
        return await self._do(type, exchange, data)

    async def _do(self, type: str, exchange: Exchange, data: dict[str, Any]) -> Answer | None:
        assert self._instructions  # else there are no such routes
        streams = data.pop("stream", None) is True and type in LONG
        instruction = {"type": type, "data": data}
        key = _key(exchange)
        if streams:
            return await _stream(self._instructions, instruction, key, exchange)
        return _answer(await self._instructions.carry_out(instruction, key=key))


def _asked(query: Mapping[str, str]) -> dict[str, Any]:
    """Behind the `?` all is text; a limit is a number."""
    limit = query.get("limit", "")
    return {**query, "limit": int(limit)} if limit.isdecimal() and len(limit) < 10 else {**query}


def _key(exchange: Exchange) -> str | None:
    """By which it is done once, however often it comes.

    Raises:
        InvalidMessage: When it is too long.
    """
    key = exchange.head.header("idempotency-key")
    if key is None:
        return None
    if not key or len(key) > LONGEST_KEY:
        raise InvalidMessage(f"`Idempotency-Key` has at most {LONGEST_KEY} characters, and one.")
    return f"http {key}"


def _answer(answer: Mapping[str, Any]) -> Answer:
    if answer["status"] == "success":
        return Answer(body=_encode(answer))
    error: WaifuError = getattr(answer, "error", None) or InvalidMessage(answer["message"])
    return failure(error, ANSWERED)


class _Events:
    """The words of a stream: `{"chunk"}`, and the whole answer at the end."""

    media_type = "text/event-stream; charset=utf-8"
    sign_of_life = b": still there\n\n"
    tells_thoughts = False

    def opening(self) -> bytes:
        return b""

    def piece(self, kind: Kind, text: str) -> bytes:
        return b'data: {"chunk":%b}\n\n' % _encode(text)

    def closing(self, final: Final) -> bytes:
        return b""

    def failure(self, error: WaifuError) -> bytes:
        return b"data: %b\n\n" % _encode(ANSWERED(error))


async def _stream(
    instructions: Instructions, instruction: dict[str, Any], key: str | None, exchange: Exchange
) -> Answer | None:
    """What went wrong before there was a word of it has a status of its own."""
    line = exchange.reply.line
    assert isinstance(line, Connection)
    stream = Stream(line, exchange.reply, _Events())
    loop = asyncio.get_running_loop()

    def say(text: str) -> None:
        stream.chunk(text)
        loop.call_soon(stream.flush)

    try:
        answer = await instructions.carry_out(instruction, key=key, on_chunk=say)
    except WaifuError as error:
        stream.fail(error)
        stream.flush()
        if not exchange.reply.has_begun:
            raise
        await stream.over
        return None
    finally:
        stream.rest()
    if answer["status"] == "success":
        stream.end(b"data: %b\n\n" % _encode(answer))
    else:
        stream.fail(getattr(answer, "error", None) or InvalidMessage(answer["message"]))
    stream.flush()
    await stream.over
    return None if exchange.reply.has_begun else _answer(answer)
