"""A talk with an MCP server, and the way to it, over transports of a test."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, cast

import pytest
from lent import LIMIT

from waifu_llm.helpers.faults import Failed, NotReached
from waifu_llm.helpers.mcp.http import _in_a_header
from waifu_llm.helpers.mcp.session import Session
from waifu_llm.helpers.mcp.way import McpWay, _capability
from waifu_llm.redaction import Redactor


class Endless:
    """A transport whose list of tools has no end."""

    alive = True

    def __init__(self) -> None:
        self.asked = 0

    async def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        return {"result": {"tools": [{"name": "add"}], "nextCursor": "again"}}


async def test_a_list_that_has_no_end_is_read_so_far() -> None:
    transport = Endless()
    assert await Session(cast(Any, transport)).tools() == [{"name": "add"}] * 64
    assert transport.asked == 64


class Silent:
    """A transport that lists no tools the first time."""

    alive = True

    def __init__(self) -> None:
        self.asked = 0

    async def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        if self.asked == 1:
            raise Failed("Not yet.")
        return {"result": {"tools": [{"name": "add"}]}}


async def test_tools_that_were_not_heard_are_asked_for_again() -> None:
    session = Session(cast(Any, Silent()))
    with pytest.raises(Failed):
        await session.tools()
    assert session.changed
    assert await session.tools() == [{"name": "add"}]
    assert not session.changed


class Hung:
    """A transport that answers no call, and hears no end of one."""

    def __init__(self, *, alive: bool) -> None:
        self.alive = alive
        self.told: list[str] = []

    async def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(LIMIT)
        return {}

    async def tell(self, said: dict[str, Any]) -> None:
        self.told.append(said["method"])
        await asyncio.sleep(LIMIT)

    async def open(self, hear: Any) -> None:
        """It is open."""

    async def close(self) -> None:
        """There is nothing to close."""


async def given_up(session: Session) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await session.call("add", {})


async def test_a_call_is_called_off_where_somebody_is_and_not_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("waifu_llm.helpers.mcp.session._CALL_OFF_SECONDS", 0.01)
    for alive, told in ((True, ["notifications/cancelled"]), (False, [])):
        transport = Hung(alive=alive)
        session = Session(cast(Any, transport))
        await given_up(session)
        async with asyncio.timeout(LIMIT / 2):
            await session._aside.over()
        assert transport.told == told


async def test_an_introduction_is_never_called_off() -> None:
    transport = Hung(alive=True)
    session = Session(cast(Any, transport))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await session.open()
    await session._aside.over()
    assert transport.told == []


async def test_a_session_that_is_closed_waits_for_nobody_to_hear_of_it() -> None:
    session = Session(cast(Any, Hung(alive=True)))
    await given_up(session)
    async with asyncio.timeout(0.5):  # less than it would have
        await session.close()


class Moody:
    """A transport that can be told to open slowly, and to say nothing."""

    def __init__(self) -> None:
        self.alive = True
        self.silent = False
        self.may_open = asyncio.Event()
        self.may_open.set()

    async def open(self, hear: Any) -> None:
        await self.may_open.wait()

    def agreed(self, protocol: str) -> None:
        """It is all the same to it."""

    async def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self.silent:
            await asyncio.sleep(LIMIT)
        return {"result": {"protocolVersion": "2025-11-25", "tools": [], "content": []}}

    async def tell(self, said: dict[str, Any]) -> None:
        """It is heard."""

    async def close(self) -> None:
        self.alive = False


async def looked_at(way: McpWay, transport: Moody, *silences: bool) -> None:
    for transport.silent in silences:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01 if transport.silent else LIMIT):
                await way.check()


@pytest.mark.parametrize("far", [False, True])
async def test_who_is_silent_three_times_in_a_row_is_given_up(far: bool) -> None:
    transport = Moody()
    way = McpWay("box", None, lambda: cast(Any, transport), far=far)
    await looked_at(way, transport, False, True, True, False, True, True)
    assert way._session
    await looked_at(way, transport, True)
    assert way._session is None
    await way.close()
    assert not transport.alive


async def test_who_no_longer_waits_for_an_opening_does_not_end_it() -> None:
    transport = Moody()
    transport.may_open.clear()
    way = McpWay("box", None, lambda: cast(Any, transport))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await way.call("box_add", {})
    opening = way._opening
    transport.may_open.set()
    async with asyncio.timeout(LIMIT):
        with pytest.raises(Failed, match="has no `box_add`"):
            await way.call("box_add", {})
    assert way._opening is opening
    await way.close()


async def test_a_close_during_an_opening_waits_for_what_was_begun() -> None:
    opened, closed = asyncio.Event(), asyncio.Event()

    class Opening:
        alive = True

        async def open(self, hear: Any) -> None:
            opened.set()
            await asyncio.sleep(LIMIT)

        async def close(self) -> None:
            await asyncio.sleep(0.02)
            closed.set()

    way = McpWay("box", None, lambda: cast(Any, Opening()))
    looking = asyncio.create_task(way.check())
    async with asyncio.timeout(LIMIT):
        await opened.wait()
        await way.close()
    assert closed.is_set()
    await asyncio.gather(looking, return_exceptions=True)


def nested(inside: Any, levels: int) -> Any:
    for _ in range(levels):
        inside = [inside]
    return inside


async def test_a_tool_that_nobody_can_look_into_costs_the_others_nothing() -> None:
    class Deep(Moody):
        async def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
            deep = {"name": "deep", "inputSchema": {"enum": nested("hush-hush", 600)}}
            tools = [deep, {"name": "add"}]
            return {"result": {"protocolVersion": "2025-11-25", "tools": tools}}

    way = McpWay("box", None, lambda: cast(Any, Deep()), redactor=Redactor(["hush-hush"]))
    await way.check()
    assert [*way.capabilities] == ["box_add"]
    await way.close()


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array"},
        {"properties": 7},
        {"required": "a"},
        {"x": "y" * 20_000},
        {"x": nested(1, 2000)},
        7,
    ],
    ids=range(6),
)
def test_a_schema_that_no_model_takes_is_left_out(schema: Any) -> None:
    assert _capability("a", {"name": "a", "inputSchema": schema}).parameters is None


async def test_who_cannot_be_reached_is_asked_once() -> None:
    asked: list[str] = []

    class Away(Moody):
        async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
            asked.append(message["method"])
            raise NotReached("Nobody is there.")

    with pytest.raises(NotReached):
        await Session(cast(Any, Away())).open()
    assert asked == ["initialize"]


async def test_why_it_refuses_is_told_though_it_is_silent_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("waifu_llm.helpers.mcp.session._DISCOVER_SECONDS", 0.01)

    class Keyless(Moody):
        async def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
            if asked["method"] != "initialize":
                await asyncio.sleep(LIMIT)
            return {"error": {"code": -1, "message": "There is no key."}}

    async with asyncio.timeout(LIMIT / 2):
        with pytest.raises(Failed, match="There is no key"):
            await Session(cast(Any, Keyless())).open()


def test_a_process_is_asked_what_wants_its_arguments_in_heads() -> None:
    """It has none."""
    tool = {"name": "a", "inputSchema": {"properties": {"b": {"x-mcp-header": "B"}}}}
    for far in (True, False):
        way = McpWay("box", None, lambda: cast(Any, None), far=far)
        assert way._is_wanted(tool) is not far


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("read_file", "read_file"),
        ("two words", "two words"),
        (" blank", "=?base64?IGJsYW5r?="),
        ("two\nlines", "=?base64?dHdvCmxpbmVz?="),
        ("=?base64?eA==?=", "=?base64?PT9iYXNlNjQ/ZUE9PT89?="),
    ],
)
def test_a_name_in_a_head_is_what_a_head_can_hold(name: str, written: str) -> None:
    assert _in_a_header(name) == written
