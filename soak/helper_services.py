"""Helpers over HTTP that behave as their paths say, and an MCP server at an address among them."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import Any

HTTP_WAYS = (
    *("well", "hang", "die", "huge", "trickle", "garbage", "refuse", "fail", "early", "chatty"),
    "redirect",
)
MCP_TOOLS = ("well", "fail", "hang", "die", "huge", "forget")
_HUGE = 10 * 1024 * 1024
_TRICKLE_SECONDS = 0.02
Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


class Services:
    """All at one port. `done` is what was done, by its mark."""

    def __init__(self, draw: random.Random) -> None:
        self.done = Counter[str]()
        self.open = 0
        self.port = 0
        self._draw = draw
        self._session = 0

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        self._server.close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    async def _talk(self, reader: Reader, writer: Writer) -> None:
        self.open += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            await self._answer(head, reader, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # whoever asked has left
        finally:
            self.open -= 1
            writer.transport.abort()

    async def _answer(self, head: str, reader: Reader, writer: Writer) -> None:
        method, path, _ = head.split("\r\n", 1)[0].split(" ")
        if method != "POST":
            writer.write(_whole(b"{}"))
            return
        if path == "/early":  # the answer is there before the question was heard
            writer.write(_whole(b'{"result": "early"}'))
            return
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        asked = json.loads(await reader.readexactly(int(headers["content-length"])))
        if path == "/mcp":
            await self._mcp(asked, headers.get("mcp-session-id"), reader, writer)
            return
        mark = asked["data"]["mark"]
        self.done[mark] += 1
        await _behave(path[1:], json.dumps({"result": mark}).encode(), reader, writer)

    async def _mcp(
        self, asked: dict[str, Any], session: str | None, reader: Reader, writer: Writer
    ) -> None:
        method, params = asked["method"], asked.get("params", {})
        if method == "initialize":
            self._session += 1
            result: Any = {"protocolVersion": "2025-06-18", "capabilities": {}}
        elif session != f"s{self._session}" or self._forgets(params.get("name")):
            writer.write(_whole(b"{}", "404 Not Found"))
            return
        elif method == "tools/call":
            mark, name = params["arguments"]["mark"], params["name"]
            self.done[mark] += 1
            result = {"content": [{"type": "text", "text": mark}], "isError": name == "fail"}
            if name not in ("well", "fail", "forget"):
                await _behave(name, b"{}", reader, writer)
                return
        else:
            result = {"tools": [{"name": name} for name in MCP_TOOLS]}
        said = json.dumps({"jsonrpc": "2.0", "id": asked.get("id"), "result": result}).encode()
        kind = "application/json"
        if self._draw.random() < 0.5:
            said, kind = b": hello\n\ndata: " + said + b"\n\n", "text/event-stream"
        more = f"content-type: {kind}\r\nmcp-session-id: s{self._session}\r\n"
        writer.write(_whole(said, more=more))

    def _forgets(self, tool: str | None) -> bool:
        """Each second time, or nobody would ever be answered."""
        if tool == "forget" and self._draw.random() < 0.5:
            self._session += 1
            return True
        return False


async def _behave(way: str, said: bytes, reader: Reader, writer: Writer) -> None:
    if way == "hang":
        await reader.read()
    elif way == "die":
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{")
    elif way == "huge":
        await _pour(writer)
    elif way == "trickle":
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(_TRICKLE_SECONDS)
    elif way == "garbage":
        writer.write(_whole(b"<html>"))
    elif way == "refuse":
        writer.write(_whole(b'{"detail": "not so"}', "422 No"))
    elif way == "fail":
        writer.write(_whole(b'{"error": "no"}', "500 No"))
    elif way == "redirect":
        writer.write(_whole(b"", "307 Elsewhere", "location: http://127.0.0.1/\r\n"))
    elif way == "chatty":
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20 + _whole(said))
    else:
        writer.write(_whole(said))


async def _pour(writer: Writer) -> None:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {_HUGE}\r\n\r\n"
    writer.write(head.encode())
    for _ in range(_HUGE // 65_536):
        writer.write(b"x" * 65_536)
        await writer.drain()


def _whole(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{more}\r\n".encode() + body
