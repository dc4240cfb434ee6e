"""A client in the standard library alone, written from protocol.md: RFC 6455 and JSON."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

Message = dict[str, Any]

PATIENCE = 60  # seconds until silence is a failure
MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FINALS = {"generate_done", "generate_stream_done"}


class Refused(Exception):
    """The handshake was answered with another status than 101."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"HTTP {status}: {body}")
        self.status = status


class Closed(Exception):
    """The module closed the connection. Without a close frame the code is 1006."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed {code}: {reason}")
        self.code = code


class Client:
    """One connection. What arrives is read at once, and kept until somebody asks for it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard: list[Message] = []  # all of it, in its order
        self.url = ""
        self._reader = reader
        self._writer = writer
        self._unread: list[Message] = []
        self._news = asyncio.Condition()
        self._closed: Closed | None = None
        self._last_id = 0
        self._leaving = False
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def dial(cls, url: str, **headers: str) -> Client:
        """Connects. Headers are named as keywords: `Origin`, `Host`, `Authorization`."""
        place = urlsplit(url)
        key = base64.b64encode(os.urandom(16)).decode()
        asked = {
            "Host": place.netloc,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Version": "13",
            **headers,
        }
        lines = ["GET / HTTP/1.1", *(f"{name}: {value}" for name, value in asked.items()), "", ""]
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        try:
            async with asyncio.timeout(PATIENCE):
                writer.write("\r\n".join(lines).encode())
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                status = int(head[0].split()[1])
                if status != 101:
                    raise Refused(status, (await reader.read()).decode())
            expected = base64.b64encode(hashlib.sha1((key + MAGIC).encode()).digest()).decode()
            answered = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            assert answered["sec-websocket-accept"] == expected.lower()
        except BaseException:
            writer.close()
            raise
        client = cls(reader, writer)
        client.url = url
        return client

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    def new_id(self) -> str:
        self._last_id += 1
        return f"{self._last_id}"

    # Sending

    def send(self, *messages: Message | str) -> None:
        """Sends messages, or texts as they are, in one piece."""
        texts = [m if isinstance(m, str) else json.dumps(m) for m in messages]
        self._writer.write(b"".join(frame(TEXT, text.encode()) for text in texts))

    def send_frame(self, opcode: int, payload: bytes, last: bool = True) -> None:
        self._writer.write(frame(opcode, payload, last))

    async def ask(self, type: str, **fields: Any) -> Message:
        """Sends a message with an id, and returns what ends it."""
        id = fields.setdefault("unique_request_id", self.new_id())
        self.send({"type": type, **fields})
        while (answer := await self.next(id))["type"] in ("load_ack", "load_progress"):
            pass
        return answer

    def begin(self, content: str = "Hi", **fields: Any) -> str:
        """Sends a `generate`, and returns its id."""
        message = generate(content, **{"unique_request_id": self.new_id(), **fields})
        self.send(message)
        return str(message["unique_request_id"])

    async def generate(self, content: str = "Hi", **fields: Any) -> list[Message]:
        """All that a `generate` is answered with: its ack first, its final last."""
        return await self.answers(self.begin(content, **fields))

    async def leave(self) -> None:
        """Says goodbye, and goes."""
        if self._closed is None:
            self._leaving = True
            self.send_frame(CLOSE, struct.pack("!H", 1000))
        await self.end()

    @property
    def is_closed(self) -> bool:
        return self._closed is not None

    async def vanish(self) -> None:
        """Goes without a word, as a client that crashes."""
        self._writer.transport.abort()
        await self.end()

    # Receiving

    async def next(self, id: str | None = None) -> Message:
        """The next message, or the next with this id. The others stay."""
        return await self._take(lambda m: id is None or m.get("unique_request_id") == id)

    async def next_of(self, type: str) -> Message:
        return await self._take(lambda m: m["type"] == type)

    async def answers(self, id: str) -> list[Message]:
        answers = [await self.next(id)]
        while answers[-1]["type"] not in FINALS:
            answers.append(await self.next(id))
        return answers

    async def end(self) -> int:
        """Waits until the connection is closed, and returns the code."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.shield(self._listener)
            self._writer.close()
            with suppress(OSError):
                await self._writer.wait_closed()
        assert self._closed is not None
        return self._closed.code

    async def _take(self, wanted: Callable[[Message], bool]) -> Message:
        async with asyncio.timeout(PATIENCE), self._news:
            while True:
                for message in self._unread:
                    if wanted(message):
                        self._unread.remove(message)
                        return message
                if self._closed is not None:
                    raise self._closed
                await self._news.wait()

    async def _listen(self) -> None:
        text = b""
        try:
            while True:
                opcode, payload, last = await self._frame()
                if opcode == PING:
                    self.send_frame(PONG, payload)
                elif opcode == CLOSE:
                    code = struct.unpack("!H", payload[:2])[0] if payload else 1005
                    self._closed = Closed(code, payload[2:].decode())
                    if not self._leaving:
                        self.send_frame(CLOSE, payload[:2])
                    return
                elif opcode in (TEXT, CONTINUATION):
                    text += payload
                    if last:
                        await self._keep(json.loads(text.decode()))
                        text = b""
        except (OSError, EOFError):
            self._closed = Closed(1006, "the connection is lost")
        finally:
            async with self._news:
                self._news.notify_all()

    async def _keep(self, message: Message) -> None:
        self.heard.append(message)
        self._unread.append(message)
        async with self._news:
            self._news.notify_all()

    async def _frame(self) -> tuple[int, bytes, bool]:
        first, second = await self._reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", await self._reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self._reader.readexactly(8))
        return first & 0x0F, await self._reader.readexactly(length), bool(first & 0x80)


def frame(opcode: int, payload: bytes, last: bool = True) -> bytes:
    """A client's frame: always masked."""
    size = len(payload)
    head = bytes([opcode | (0x80 if last else 0)])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += bytes([0x80 | 126]) + struct.pack("!H", size)
    else:
        head += bytes([0x80 | 127]) + struct.pack("!Q", size)
    mask = os.urandom(4)
    key = int.from_bytes((mask * (size // 4 + 1))[:size])
    return head + mask + (int.from_bytes(payload) ^ key).to_bytes(size)


def generate(content: str = "Hi", **fields: Any) -> Message:
    """A `generate` of one user's message to the model `echo`; `params` adds to its params."""
    params = {"model_id": "echo", **fields.pop("params", {})}
    messages = [{"role": "user", "content": content}]
    return {"type": "generate", "messages": messages, "stream": True, **fields, "params": params}
