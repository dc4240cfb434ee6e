"""MCP servers at an address, over real sockets."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from lent import LIMIT, Stage
from mcp_stage import ask, ready, staged
from serving import Heard, Server, answer, hang, serving

from waifu_llm.helpers.faults import Failed, Refused, Slow
from waifu_llm.helpers.mcp.http import _messages_of


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


async def test_a_tool_that_the_next_session_has_not_is_no_fault_of_ours(tmp_path: Path) -> None:
    async with remote(tmp_path) as (stage, server, _):
        server.session, server.tools = 7, ["grown"]
        with pytest.raises(Failed, match="has no `box_add` any more"):
            await ask(stage, "box_add", a=3, b=4)


@pytest.mark.parametrize("status", ["202 Accepted", "404 Not Found", "400 Bad Request", None])
async def test_a_call_in_which_we_are_asked_something_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str | None
) -> None:
    """Whatever the server makes of our reply, if anything."""
    monkeypatch.setattr("waifu_llm.helpers.mcp.http._REPLY_SECONDS", 0.1)
    server, replies = Remote(events=True), []

    async def asking(heard: Heard, writer: asyncio.StreamWriter) -> None:
        said = heard.json if heard.body else {}
        if "method" not in said and said:
            replies.append(said)
            await (answer(b"", status) if status else hang)(heard, writer)
        elif said.get("method") != "tools/call":
            await server(heard, writer)
        else:
            asked = [{"id": n, "method": m} for n, m in enumerate(("ping", "roots/list"))]
            done = {"id": said["id"], "result": {"content": [{"type": "text", "text": "done"}]}}
            data = "".join(f"data: {json.dumps(each)}\n\n" for each in (*asked, done))
            await answer(data.encode(), content_type="text/event-stream")(heard, writer)

    async with AsyncExitStack() as stack:
        listening = await stack.enter_async_context(serving(asking))
        stage = await stack.enter_async_context(staged(tmp_path, {"mcp": listening.url}))
        await ready(stage)
        assert await ask(stage, "box_add", a=1, b=2) == "done"
        calls = [each for each in listening.heard if b"tools/call" in each.body]
    assert len(calls) == 1
    assert [each["id"] for each in replies] == [0, 1]
    assert replies[0]["result"] == {}
    assert replies[1]["error"]["code"] == -32601


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


async def test_an_address_that_is_away_is_asked_as_often_as_one_likes(tmp_path: Path) -> None:
    async with serving(Remote(events=False)) as listening:
        port = listening.port
    async with staged(tmp_path, {"mcp": f"http://127.0.0.1:{port}/"}) as stage:
        helper = await ready(stage)
        for _ in range(7):
            await helper.check()
        assert "cannot be reached" in (helper.trouble or "")


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
