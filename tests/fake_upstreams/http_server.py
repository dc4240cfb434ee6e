"""What every fake upstream has: HTTP/1.1 connections, a log of what was asked, and its end.

A fake upstream is a script that calls `main(Answers, root)`, where `Answers` is a Connection that
answers. `GET /log` tells what was asked and how it ended: where a client hung up it was `aborted`.
`GET /forget` empties the log.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
from typing import Any

REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}


class Upstream:
    """What was asked on all connections."""

    def __init__(self) -> None:
        self.log: list[dict[str, Any]] = []
        self.port = 0

    def note(self, method: str, target: str, headers: dict[str, str], body: Any) -> dict[str, Any]:
        path, _, query = target.partition("?")
        key = headers.get("authorization", "").removeprefix("Bearer ") or headers.get("api-key", "")
        entry = {"method": method, "path": path, "key": key, "headers": headers, "body": body}
        entry["query"] = query
        entry |= {"state": "running", "begun": time.monotonic(), "ended": None, "sent": 0}
        self.log.append(entry)
        return entry

    async def serve(self, answers: type[Connection]) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: answers(self), "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        return server


class Connection(asyncio.Protocol):
    """One client: HTTP/1.1, kept alive, one request at a time."""

    usual_headers: dict[str, str] = {}
    """What this vendor sends with every answer."""

    def __init__(self, upstream: Upstream) -> None:
        self.entry: dict[str, Any] = {}
        self._upstream = upstream
        self._received = b""
        self._task: asyncio.Task[None] | None = None

    async def answer(self, method: str, path: str, body: Any) -> None:
        """Answer one request; `self.entry` is what the log has of it."""
        raise NotImplementedError

    # Pieces of HTTP

    def send_head(self, status: int, headers: dict[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}"]
        lines += [f"{name}: {value}" for name, value in {**self.usual_headers, **headers}.items()]
        self.transport.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def send_json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        json_type = {"content-type": "application/json"}
        self.send_whole(status, json.dumps(value).encode(), {**json_type, **(headers or {})})

    def send_whole(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_head(status, {"content-length": str(len(data)), **headers})
        self.transport.write(data)

    def begin_stream(self, content_type: str, headers: dict[str, str] | None = None) -> None:
        chunked = {"content-type": content_type, "transfer-encoding": "chunked"}
        self.send_head(200, {**chunked, **(headers or {})})

    def send_part(self, data: bytes) -> None:
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end_stream(self) -> None:
        self.transport.write(b"0\r\n\r\n")

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task:
            self._task.cancel()
        if self.entry.get("state") == "running":
            self.entry |= {"state": "aborted", "ended": time.monotonic()}

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self._received = rest[length:]
        method, path, _ = first.split(" ")
        body = json.loads(rest[:length]) if length else None
        self._task = asyncio.ensure_future(self._answer(method, path, headers, body))

    async def _answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> None:
        if path == "/log":
            self.send_json(200, self._upstream.log)
            return
        if path == "/forget":
            self._upstream.log.clear()
            self.send_json(200, None)
            return
        self.entry = self._upstream.note(method, path, headers, body)
        await self.answer(method, self.entry["path"], body)
        if self.entry["state"] == "running":
            self.entry |= {"state": "done", "ended": time.monotonic()}


def main(answers: type[Connection], root: str = "") -> None:
    """Say where it listens, and serve until stdin ends."""
    try:
        import uvloop

        uvloop.run(_serve(answers, root))
    except ImportError:
        asyncio.run(_serve(answers, root))


async def _serve(answers: type[Connection], root: str) -> None:
    upstream = Upstream()
    await upstream.serve(answers)
    gc.freeze()
    gc.set_threshold(200_000, 50, 1000)  # its own pauses would be measured as somebody else's
    print(f"listening on http://127.0.0.1:{upstream.port}{root}", flush=True)
    over, loop = asyncio.Event(), asyncio.get_running_loop()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    await over.wait()
