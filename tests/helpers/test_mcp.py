"""MCP servers as helpers: real processes over their pipes, and real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest
from lent import LIMIT, Stage, call
from serving import Heard, Server, answer, serving

from waifu_llm import system
from waifu_llm.config import ConfigError
from waifu_llm.errors import WaifuError
from waifu_llm.helpers.faults import Failed, NotReached, Refused, Slow, UnknownHelper
from waifu_llm.helpers.helper import Helper
from waifu_llm.helpers.mcp.http import _messages_of
from waifu_llm.helpers.mcp.session import Session
from waifu_llm.helpers.mcp.stdio import MOST_UNSENT, OverPipes, Program
from waifu_llm.helpers.mcp.way import McpWay, _capability
from waifu_llm.helpers.messages import Task
from waifu_llm.redaction import Redactor

SERVER = Path(__file__).parent / "mcp_server.py"
ALL = [
    "add",
    "back",
    "change",
    "die",
    "environment",
    "fail",
    "hang",
    "picture",
    "read_file",
    "structured",
]


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(SERVER), *arguments]


@asynccontextmanager
async def staged(home: Path, table: dict[str, Any], **settings: Any) -> AsyncIterator[Stage]:
    stage = Stage(home, helpers={"box": table}, **settings)
    try:
        yield stage
    finally:
        await stage.close()


async def ready(stage: Stage) -> Helper:
    """Looked at, and well or not."""
    (helper,) = stage.helpers.registry.all()
    async with asyncio.timeout(LIMIT):
        while helper.is_well is None:
            await asyncio.sleep(0.01)
    return helper


def ask(stage: Stage, name: str, **data: Any) -> Awaitable[Any]:
    return stage.requests.task(Task(name, data))


# Over pipes


async def test_one_line_makes_a_server_a_helper(tmp_path: Path) -> None:
    async with staged(tmp_path, {"mcp": command()}) as stage:
        helper = await ready(stage)
        assert sorted(helper.capabilities) == [f"box_{name}" for name in ALL]
        assert await ask(stage, "box_add", a=3, b=4) == "7"
        assert await ask(stage, "box_structured") == {"sum": 7}
        assert await ask(stage, "box_read_file") == "read.file is done"
        assert "no text was left out" in await ask(stage, "box_picture")
        shown = helper.shown()
    assert (shown.kind, shown.state, shown.configured) == ("mcp", "well", True)


async def test_a_command_may_be_one_line(tmp_path: Path) -> None:
    async with staged(tmp_path, {"mcp": f"'{sys.executable}' '{SERVER}' well"}) as stage:
        assert (await ready(stage)).is_well


async def test_a_model_calls_its_tools(tmp_path: Path) -> None:
    async with staged(tmp_path, {"mcp": command()}) as stage:
        await ready(stage)
        final = await stage.answer([call("box_add", '{"a": 3, "b": 4}')], "Seven.")
        assert final.response == "Seven."
        assert stage.told[-1].content == '{"result":"7"}'
        tools = {t["function"]["name"]: t["function"] for t in stage.model.requests[0].params.tools}
    assert tools["box_add"]["description"] == "Does add."
    assert tools["box_add"]["parameters"]["required"] == ["a", "b"]


async def test_only_the_tools_that_are_named_are_lent(tmp_path: Path) -> None:
    async with staged(tmp_path, {"mcp": command(), "tools": ["add"]}) as stage:
        assert [*(await ready(stage)).capabilities] == ["box_add"]
        with pytest.raises(UnknownHelper):
            await ask(stage, "box_die")


async def test_it_sees_no_variable_but_those_that_its_table_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_SECRET", "never")
    async with staged(tmp_path, {"mcp": command(), "env": ["SECRET"]}) as stage:
        await ready(stage)
        seen = json.loads(await ask(stage, "box_environment"))
    assert seen["SECRET"] == "***"  # as it is shown
    assert "OTHER_SECRET" not in seen


async def test_what_it_was_given_is_not_shown(tmp_path: Path) -> None:
    """Neither in a name of a tool, nor in a word about it, an answer, or an error."""
    secret, table = 'hush"hush', {"mcp": command("telling"), "env": ["SECRET"]}
    async with AsyncExitStack() as stack:
        stage = Stage(tmp_path, helpers={"box": table}, environ={"SECRET": secret})
        stack.push_async_callback(stage.close)
        helper = await ready(stage)
        seen = await ask(stage, "box_environment")
        with pytest.raises(Failed, match=r"\*\*\*") as caught:
            await ask(stage, "box_fail")
        told = f"{seen} {caught.value.message} {stage.helpers.status()} {helper.capabilities}"
    assert "hush" not in told
    assert helper.capabilities["box____"].description == "Does ***."


async def test_what_fails_in_a_tool_is_said(tmp_path: Path) -> None:
    async with staged(tmp_path, {"mcp": command()}) as stage:
        helper = await ready(stage)
        with pytest.raises(Failed, match="There is no such file"):
            await ask(stage, "box_fail")
        assert helper.is_well


async def test_one_that_dies_says_why_and_is_started_again(tmp_path: Path) -> None:
    async with staged(tmp_path, {"mcp": command()}) as stage:
        await ready(stage)
        with pytest.raises(Failed, match=r"exit status 3[\s\S]*I cannot go on"):
            await ask(stage, "box_die")
        assert await ask(stage, "box_add", a=1, b=1) == "2"
    assert "I cannot go on" in (tmp_path / "logs" / "helper-box.log").read_text()


async def test_one_that_asks_for_something_in_return_gets_nothing(tmp_path: Path) -> None:
    async with staged(tmp_path, {"mcp": command()}) as stage:
        await ready(stage)
        with pytest.raises(Failed, match="in return"):
            await ask(stage, "box_back")


async def test_one_to_whom_nobody_is_introduced_is_a_helper(tmp_path: Path) -> None:
    async with staged(tmp_path, {"mcp": command("stateless")}) as stage:
        helper = await ready(stage)
        await helper.check()
        assert helper.is_well
        assert await ask(stage, "box_add", a=3, b=4) == "7"


async def test_one_that_hangs_is_told_that_nobody_waits(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    environ = {"SECRET": "hush-hush", "HEARD": str(heard)}
    table = {"mcp": command(), "env": ["HEARD"], "seconds": 0.2}
    stage = Stage(tmp_path, helpers={"box": table}, environ=environ)
    await ready(stage)
    with pytest.raises(Slow):
        await ask(stage, "box_hang")
    assert await ask(stage, "box_add", a=1, b=1) == "2"
    await stage.close()
    said = [json.loads(line) for line in heard.read_text().splitlines()]
    (hung,) = [each["id"] for each in said if each.get("params", {}).get("name") == "hang"]
    off = [each for each in said if each["method"] == "notifications/cancelled"]
    assert [each["params"] for each in off] == [{"requestId": hung}]
    assert [each["method"] for each in said][:2] == ["initialize", "notifications/initialized"]


async def test_one_that_starts_slowly_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have to be fetched first. Whoever does not wait that long does not end it."""
    monkeypatch.setattr("waifu_llm.helpers.mcp.way.LOOK_SECONDS", 0.05)
    go = tmp_path / "go"
    table = {"mcp": command("slow"), "env": ["GO"], "seconds": 0.1}
    stage = Stage(tmp_path, helpers={"box": table}, environ={"GO": str(go)})
    helper = await ready(stage)
    assert (helper.is_well, helper.trouble) == (False, "It is still starting.")
    way: Any = helper.way
    begun = way._opening
    await helper.check()
    go.touch()
    async with asyncio.timeout(LIMIT):
        while not helper.is_well:
            await helper.check()
    assert way._opening is begun
    await stage.close()


async def test_what_does_not_read_is_not_given_more_and_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(tmp_path, {"mcp": command()}) as stage:
        await ready(stage)
        monkeypatch.setattr(OverPipes, "unsent", MOST_UNSENT + 1)
        with pytest.raises(NotReached, match="yet to read"):
            await ask(stage, "box_fail")


async def test_new_tools_are_noticed(tmp_path: Path) -> None:
    async with staged(tmp_path, {"mcp": command()}) as stage:
        helper = await ready(stage)
        await ask(stage, "box_change")
        await helper.check()
        assert await ask(stage, "box_grown") == "grown is done"


@pytest.mark.parametrize("mode", ["noisy", "asks"])
async def test_what_else_it_says_costs_nothing(tmp_path: Path, mode: str) -> None:
    async with staged(tmp_path, {"mcp": command(mode)}) as stage:
        await ready(stage)
        assert await ask(stage, "box_add", a=1, b=1) == "2"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (command("dead"), "There is no key"),
        (command("old"), "1999-01-01"),
        (command("endless"), "a line of more than"),
        (["no-such-program-anywhere"], "no program `no-such-program-anywhere`"),
    ],
    ids=["dead", "old", "endless", "absent"],
)
async def test_one_that_cannot_be_used_is_not_well(
    tmp_path: Path, told: list[str], words: str
) -> None:
    async with staged(tmp_path, {"mcp": told}) as stage:
        helper = await ready(stage)
        assert helper.is_well is False
        assert words in (helper.trouble or "")
        assert stage.helpers.registry.capabilities() == {}


async def test_it_ends_with_the_module(tmp_path: Path) -> None:
    async with staged(tmp_path, {"mcp": command()}) as stage:
        await ready(stage)
        way: Any = stage.helpers.registry.all()[0].way
        pid = way._session._transport.pid
        assert system.process_alive(pid)
    assert not system.process_alive(pid)


# Over HTTP


class Remote:
    """A server at an address, with a session that it can forget."""

    def __init__(self, *, events: bool) -> None:
        self.events = events
        self.session = 0
        self.tools = ["add"]
        self.deleted: list[str] = []

    async def __call__(self, heard: Heard, writer: asyncio.StreamWriter) -> None:
        if heard.line.startswith("DELETE"):
            self.deleted.append(heard.headers["mcp-session-id"])
            await answer({})(heard, writer)
            return
        asked = heard.json
        if asked["method"] == "initialize":
            self.session += 1
        elif heard.headers.get("mcp-session-id") != f"s{self.session}":
            await answer({}, "404 Not Found")(heard, writer)
            return
        if "id" not in asked:
            await answer(b"", "202 Accepted")(heard, writer)
            return
        whole = {"jsonrpc": "2.0", "id": asked["id"], **self._answer(asked)}
        await self._send(whole, asked)(heard, writer)

    def _send(self, whole: dict[str, Any], asked: dict[str, Any]) -> Callable[..., Any]:
        session = {"mcp_session_id": f"s{self.session}"} if asked["method"] == "initialize" else {}
        if not self.events:
            return answer(whole, content_type="application/json; charset=utf-8", **session)
        note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x"}}
        told = "".join(
            f"event: message\r\ndata: {json.dumps(each)}\r\n\r\n" for each in (note, whole)
        )
        return answer(f": hello\n\n{told}".encode(), content_type="text/event-stream", **session)

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        params = asked["params"]
        if asked["method"] == "initialize":
            return {"result": {"protocolVersion": "2025-03-26", "capabilities": {}}}
        if asked["method"] == "tools/list":
            return {"result": {"tools": [{"name": name} for name in self.tools]}}
        if params["name"] == "add":
            total = params["arguments"]["a"] + params["arguments"]["b"]
            return {"result": {"content": [{"type": "text", "text": str(total)}]}}
        return {"error": {"code": -32602, "message": "Unknown tool"}}


@asynccontextmanager
async def remote(
    home: Path, *, events: bool = False, **table: Any
) -> AsyncIterator[tuple[Stage, Remote, Server]]:
    server = Remote(events=events)
    async with serving(server) as listening, AsyncExitStack() as stack:
        table["mcp"] = f"{listening.url}/mcp"
        stage = await stack.enter_async_context(staged(home, table))
        await ready(stage)
        yield stage, server, listening


@pytest.mark.parametrize("events", [False, True], ids=["json", "events"])
async def test_a_server_at_an_address_is_a_helper(tmp_path: Path, events: bool) -> None:
    async with remote(tmp_path, events=events, token_env="SECRET") as (stage, server, listening):
        assert await ask(stage, "box_add", a=3, b=4) == "7"
        shown = stage.helpers.registry.all()[0].shown()
    first, *others = listening.heard
    assert first.line == "POST /mcp HTTP/1.1"
    assert {each.headers["authorization"] for each in listening.heard} == {"bearer hush-hush"}
    assert "application/json, text/event-stream" in first.headers["accept"]
    assert "mcp-session-id" not in first.headers
    assert {each.headers["mcp-session-id"] for each in others} == {"s1"}
    assert {each.headers["mcp-protocol-version"] for each in others} == {"2025-03-26"}
    assert server.deleted == ["s1"]
    assert (shown.url, shown.state) == (listening.url, "well")


async def test_a_session_that_was_forgotten_is_begun_anew(tmp_path: Path) -> None:
    async with remote(tmp_path) as (stage, server, _):
        server.session += 7
        assert await ask(stage, "box_add", a=3, b=4) == "7"
    assert server.session == 9


async def test_its_tools_are_listed_anew(tmp_path: Path) -> None:
    async with remote(tmp_path) as (stage, server, _):
        server.tools = ["grown"]
        (helper,) = stage.helpers.registry.all()
        await helper.check()
        assert [*helper.capabilities] == ["box_grown"]
        with pytest.raises(Refused, match="Unknown tool"):
            await ask(stage, "box_grown")


@pytest.mark.parametrize(
    ("handle", "words"),
    [
        (answer({}, "401 Unauthorized"), "`token_env`"),
        (answer({}, "302 Found", location="http://127.0.0.1/"), "answers 302"),
        (answer(b"<html>", content_type="text/html"), "which is not MCP"),
        (answer(b"[]", content_type="application/json"), "no message of MCP"),
        (answer(b"data: x\n\n", content_type="text/event-stream"), "no message of MCP"),
        (answer(b"", content_type="text/event-stream"), "without an answer"),
        (answer(b"x" * 2_000_000, content_type="text/event-stream"), "more than"),
    ],
)
async def test_an_address_that_is_no_server_is_not_well(
    tmp_path: Path, handle: Any, words: str
) -> None:
    async with serving(handle) as listening, staged(tmp_path, {"mcp": listening.url}) as stage:
        helper = await ready(stage)
        assert words in (helper.trouble or "")


async def test_a_silent_server_is_given_up_in_time(tmp_path: Path) -> None:
    """Nobody waits for it to hear that nobody waits."""

    server = Remote(events=False)

    async def silent(heard: Heard, writer: asyncio.StreamWriter) -> None:
        method = heard.json["method"] if heard.body else ""
        if method in ("tools/call", "notifications/cancelled"):
            await heard.reader.read()
        else:
            await server(heard, writer)

    async with serving(silent) as listening:
        table = {"mcp": listening.url, "seconds": 0.1}
        async with staged(tmp_path, table) as stage:
            await ready(stage)
            async with asyncio.timeout(LIMIT / 2):
                with pytest.raises(Slow):
                    await ask(stage, "box_add", a=1, b=2)
                assert not any(b"cancelled" in each.body for each in listening.heard)
                while not any(b"cancelled" in each.body for each in listening.heard):
                    await asyncio.sleep(0.01)


class Stateless:
    """A server at an address of 2026-07-28: it knows nobody, and looks at what stands in heads."""

    def __init__(self, *versions: str) -> None:
        self.versions = list(versions)

    async def __call__(self, heard: Heard, writer: asyncio.StreamWriter) -> None:
        asked = heard.json
        about = asked["params"].get("_meta", {})
        version = about.get("io.modelcontextprotocol/protocolVersion")
        told = (heard.headers.get("mcp-protocol-version"), heard.headers.get("mcp-method"))
        if version not in self.versions or told != (version, asked["method"].lower()):
            data = {"supported": self.versions, "requested": str(version)}
            error = {"code": -32022, "message": "Unsupported protocol version", "data": data}
            await self._say({"id": asked["id"], "error": error}, "400 Bad Request")(heard, writer)
            return
        await self._say({"id": asked["id"], "result": self._result(heard)})(heard, writer)

    def _say(self, whole: dict[str, Any], status: str = "200 OK") -> Callable[..., Any]:
        return answer({"jsonrpc": "2.0", **whole}, status, content_type="application/json")

    def _result(self, heard: Heard) -> dict[str, Any]:
        complete = {"resultType": "complete"}
        if heard.json["method"] == "server/discover":
            return {**complete, "supportedVersions": self.versions}
        if heard.json["method"] == "tools/list":
            mirrored = {"properties": {"a": {"type": "string", "x-mcp-header": "A"}}}
            return {
                **complete,
                "tools": [{"name": "größe"}, {"name": "b", "inputSchema": mirrored}],
            }
        return {**complete, "structuredContent": [heard.headers["mcp-name"]], "content": []}


async def test_a_server_at_an_address_that_knows_nobody_is_a_helper(tmp_path: Path) -> None:
    name = b64encode("größe".encode())
    async with AsyncExitStack() as stack:
        listening = await stack.enter_async_context(serving(Stateless("2026-07-28")))
        stage = await stack.enter_async_context(staged(tmp_path, {"mcp": listening.url}))
        helper = await ready(stage)
        assert [*helper.capabilities] == ["box_gr__e"]  # what wants heads of its own is left out
        assert await ask(stage, "box_gr__e") == [f"=?base64?{name.decode().lower()}?="]
        assert not any("mcp-session-id" in each.headers for each in listening.heard)


async def test_one_that_speaks_only_what_is_not_known_says_so(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        listening = await stack.enter_async_context(serving(Stateless("2031-01-01")))
        stage = await stack.enter_async_context(staged(tmp_path, {"mcp": listening.url}))
        helper = await ready(stage)
    assert "It speaks 2031-01-01; known are 2024-11-05" in (helper.trouble or "")


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


async def test_what_it_says_while_it_is_looked_at_is_cleaned(tmp_path: Path) -> None:
    refusal = {"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": "Not hush-hush!"}}
    async with serving(answer(refusal, content_type="application/json")) as listening:
        table = {"mcp": listening.url, "token_env": "SECRET"}
        async with staged(tmp_path, table) as stage:
            assert "Not ***!" in ((await ready(stage)).trouble or "")


async def test_events_without_data_and_long_ones_are_read() -> None:
    class Whole:
        media_type = "text/event-stream"

        async def pieces(self) -> AsyncIterator[bytes]:
            whole = b'id: 1\ndata:\n\ndata: {\r\ndata: "id": 1}\r\n\r\n'
            for number in range(len(whole)):
                yield whole[number : number + 1]

    heard = [each async for each in _messages_of(cast(Any, Whole()))]
    assert heard == [{"id": 1}]


@pytest.mark.parametrize(
    "schema", [{"type": "array"}, {"properties": 7}, {"required": "a"}, {"x": "y" * 20_000}, 7]
)
def test_a_schema_that_no_model_takes_is_left_out(schema: Any) -> None:
    assert _capability("a", {"name": "a", "inputSchema": schema}).parameters is None


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


async def test_who_is_silent_three_times_in_a_row_is_given_up() -> None:
    transport = Moody()
    way = McpWay("box", None, lambda: cast(Any, transport))
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


def test_a_program_is_found_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is run in another folder."""
    monkeypatch.setattr("shutil.which", lambda name: f"./{name}")
    program = Program("box", ["box"], {}, tmp_path, cast(Any, None), Redactor())
    assert program.found() == [os.path.abspath("box")]


async def test_a_token_may_end_with_a_line(tmp_path: Path) -> None:
    table = {"mcp": "http://127.0.0.1:1/", "token_env": "TOKEN"}
    stage = Stage(tmp_path, helpers={"box": table}, environ={"TOKEN": "hush-hush\n"})
    assert stage.redactor.clean("hush-hush") == "***"
    await stage.close()


# Its table


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "either a `url` or `mcp`"),
        ({"url": "http://box/", "mcp": "x"}, "either a `url` or `mcp`"),
        ({"url": "http://box/"}, "no `capabilities`"),
        ({"url": "box", "capabilities": ["a"]}, "HOST:PORT"),
        ({"url": "http://127.1/", "capabilities": ["a"]}, "127.1"),
        ({"mcp": "http://a@b/"}, "HOST:PORT"),
        ({"mcp": " "}, "nothing that can be run"),
        ({"mcp": ["", "x"]}, "nothing that can be run"),
        ({"mcp": "http://box/", "token_env": "ODD"}, "`ODD` holds no token"),
        ({"mcp": "'unclosed"}, "No closing quotation"),
        ({"mcp": "x", "env": ["NOT_THERE"]}, "`NOT_THERE`"),
        ({"mcp": "http://box/", "token_env": "NOT_THERE"}, "`NOT_THERE`"),
        ({"mcp": "x", "comand": "y"}, "comand"),
        ({"mcp": 7}, "Expected"),
    ],
)
def test_a_table_that_cannot_be_is_said(tmp_path: Path, table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Stage(tmp_path, helpers={"box": table}, environ={"ODD": "hush hush"})
    assert "hush" not in caught.value.message
    assert "In the helper `box`" in caught.value.message
    assert words in caught.value.message


async def test_what_is_configured_stays(tmp_path: Path) -> None:
    table = {"url": "http://127.0.0.1:9/", "capabilities": ["work"]}
    async with staged(tmp_path, table) as stage:
        for attempt in (stage.register("box", "work"), stage.requests.remove("box")):
            with pytest.raises(WaifuError, match="configuration"):
                await attempt


async def test_what_is_configured_may_be_at_home(tmp_path: Path) -> None:
    async with serving(answer({"result": 1})) as server, AsyncExitStack() as stack:
        table = {"url": server.url, "capabilities": ["work"]}
        stage = await stack.enter_async_context(staged(tmp_path, table))
        assert await ask(stage, "work") == {"result": 1}


async def test_nothing_from_the_network_is_run(stage: Stage, tmp_path: Path) -> None:
    """A registration has no field for a command, and what it brings in others is no command."""
    mark = tmp_path / "ran"
    touch = f"{sys.executable} -c \"open({str(mark)!r}, 'w')\""
    await stage.register("evil", "work", mcp=touch, command=touch, url=None)
    with pytest.raises(NotReached):
        await ask(stage, "work")
    assert not mark.exists()


@pytest.mark.skipif(os.name != "posix", reason="kills the module as POSIX has it")
async def test_no_server_outlives_a_module_that_is_killed(tmp_path: Path) -> None:
    """Not even one that does not look whether anybody is still there."""
    code = (
        "import asyncio, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "from lent import Stage; from test_mcp import command, ready\n"
        "async def main():\n"
        "    stage = Stage(Path(sys.argv[2]), helpers={'box': {'mcp': command('deaf')}})\n"
        "    way = (await ready(stage)) and stage.helpers.registry.all()[0].way\n"
        "    print(way._session._transport.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    here = Path(__file__).parent
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, str(here), str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(here.parents[1])},
    )
    async with asyncio.timeout(LIMIT):
        assert process.stdout
        pid = int(await process.stdout.readline())
        process.kill()
        await process.wait()
        while system.process_alive(pid):
            await asyncio.sleep(0.01)


async def test_one_that_dies_and_dies_is_left_alone_for_a_while(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    code = f"open({str(starts)!r}, 'a').write('x')"
    async with staged(tmp_path, {"mcp": [sys.executable, "-c", code]}) as stage:
        helper = await ready(stage)
        way: Any = helper.way
        way._restarts.pause = lambda: 0.0
        for _ in range(6):
            await helper.check()
        assert "is not started again" in (helper.trouble or "")
    assert starts.read_text() == "xxxxx"


async def test_an_address_that_is_away_is_asked_as_often_as_one_likes(tmp_path: Path) -> None:
    async with serving(Remote(events=False)) as listening:
        port = listening.port
    async with staged(tmp_path, {"mcp": f"http://127.0.0.1:{port}/"}) as stage:
        helper = await ready(stage)
        for _ in range(7):
            await helper.check()
        assert "cannot be reached" in (helper.trouble or "")
