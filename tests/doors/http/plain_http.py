"""A client that knows only as much HTTP as a test needs, and sends whatever it is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import Any

from support import LIMIT


@dataclass
class Got:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Line:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(LIMIT):
            raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return int(first.split()[1]), headers

    async def answer(self, *, has_body: bool = True) -> Got:
        status, headers = await self.head()
        async with asyncio.timeout(LIMIT):
            if not has_body or status in (204, 304):
                body = b""
            elif headers.get("transfer-encoding") == "chunked":
                body = b"".join([part async for part in self.chunks()])
            else:
                body = await self.reader.readexactly(int(headers["content-length"]))
        return Got(status, headers, body)

    async def chunks(self):
        while part := await self.chunk():
            yield part

    async def chunk(self) -> bytes:
        async with asyncio.timeout(LIMIT):
            size = int(await self.reader.readline(), 16)
            data = await self.reader.readexactly(size + 2)
        return data[:-2]

    async def is_closed(self) -> bool:
        """Once the other side has; whatever it still says is read past."""
        async with asyncio.timeout(LIMIT):
            with contextlib.suppress(ConnectionError):
                await self.reader.read(-1)
        return True

    async def close(self) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


OPEN: list[Line] = []
"""Those of the test that runs: they are closed after it."""


class Plain:
    """Asks one server."""

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self.port = port
        self.headers = {"host": f"127.0.0.1:{port}", **headers}

    async def connect(self) -> Line:
        line = Line(*await asyncio.open_connection("127.0.0.1", self.port))
        OPEN.append(line)
        return line

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> bytes:
        data = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        more = {} if body is None else {"content-length": str(len(data))}
        if body is not None and "content_type" not in headers:
            more["content-type"] = "application/json"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{method} {path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in {**self.headers, **more, **named}.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + data

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Got:
        line = await self.connect()
        line.send(self.request(method, path, body, **headers))
        got = await line.answer(has_body=method != "HEAD")
        await line.close()
        return got
