"""Helpers for the tests: servers on loopback that answer as a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

LIMIT = 10.0


class Heard:
    """One request, as it came."""

    def __init__(self, head: str, reader: asyncio.StreamReader) -> None:
        self.reader = reader
        self.line, *lines = head.split("\r\n")
        self.headers = dict(line.lower().split(": ", 1) for line in lines if line)
        self.body = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Handle = Callable[[Heard, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Counts who came, and what was asked."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self.heard: list[Heard] = []
        self.gone = asyncio.Event()
        """Somebody closed a connection before it was answered whole."""
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            heard = Heard(head, reader)
            length = int(heard.headers.get("content-length", 0))
            heard.body = await reader.readexactly(length)
            self.heard.append(heard)
            await self._handle(heard, writer)
            await writer.drain()
            if not writer.is_closing():
                writer.write_eof()
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.gone.set()
        finally:
            writer.transport.abort()

    @property
    def tasks(self) -> list[Heard]:
        return [each for each in self.heard if each.line.startswith("POST")]


@asynccontextmanager
async def serving(handle: Handle, **options: Any) -> AsyncIterator[Server]:
    server = Server(handle)
    listening = await asyncio.start_server(server.talk, "127.0.0.1", 0, **options)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


def answer(body: Any, status: str = "200 OK", **headers: str) -> Handle:
    """Answers everything with this: JSON, or bytes as they are."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def handle(heard: Heard, writer: asyncio.StreamWriter) -> None:
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status}\r\ncontent-length: {len(data)}\r\n{more}\r\n"
        writer.write(head.encode() + data)

    return handle


def raw(data: bytes) -> Handle:
    async def handle(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    return handle


async def hang(heard: Heard, writer: asyncio.StreamWriter) -> None:
    """Says nothing, until the other goes."""
    if heard.line.startswith("GET"):
        await answer({})(heard, writer)
        return
    await heard.reader.read()
    raise ConnectionError


async def image_helper(heard: Heard, writer: asyncio.StreamWriter) -> None:
    """The example helper: it knows one task."""
    if heard.line.startswith("GET"):
        await answer({"detail": "Not Found"}, "404 Not Found")(heard, writer)
    elif heard.json["task"] == "image_processing":
        await answer({"result": "Processed image"})(heard, writer)
    else:
        await answer({"detail": "Task not supported"}, "400 Bad Request")(heard, writer)
