"""The load: many streams from one process, over HTTP or over our WebSocket, as cheap as can be."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from bench.scenario import KEY, Outcome, Scenario

TRIES = 50
_MASK = b"\0\0\0\0"  # any mask is one: this one leaves the payload as it is


class Tally:
    """Counts what the streams of one run say. A chunk says when it was sent: ` 123.456789`."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._asked = 0.0
        self._silent = True

    def asked(self) -> None:
        self._asked, self._silent = time.monotonic(), True

    def heard(self, text: str) -> None:
        now = time.monotonic()
        stamps = text.split()
        if not stamps:
            return
        if self._silent:
            self._outcome.first_chunk_ms.append((now - self._asked) * 1000)
            self._silent = False
        self._outcome.chunks += len(stamps)
        self._outcome.latency_ms += [(now - float(stamp)) * 1000 for stamp in stamps]


class HttpStream(asyncio.Protocol):
    """One connection that reads completions in OpenAI's wire, one after the other."""

    def __init__(self, scenario: Scenario, host: str, tally: Tally, prefix: str = "") -> None:
        body = {
            "model": prefix + scenario.model,
            "messages": [{"role": "user", "content": "Hi"}],
            "stream": True,
        }
        data = json.dumps(body).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {KEY}\r\n"
        )
        more = f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        self._request = (head + more).encode() + data
        self._left = scenario.requests
        self._tally = tally
        self._rest = b""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_exception(exc or ConnectionError(f"cut off: {self._rest[-500:]!r}"))

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: [DONE]"):
                self._left -= 1
                self._ask()
                return
            if line.startswith(b"data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    self._tally.heard(choice["delta"].get("content") or "")

    def _ask(self) -> None:
        self._rest = b""
        if self._left:
            self._tally.asked()
            self._transport.write(self._request)
        else:
            self.over.set_result(None)
            self._transport.close()


class ModuleStream(asyncio.Protocol):
    """The same over our WebSocket, read frame by frame."""

    def __init__(
        self, scenario: Scenario, host: str, tally: Tally, account: dict[str, str]
    ) -> None:
        self._host = host
        self._load = {"type": "load", "unique_request_id": "l", **account}
        self._generate = {
            "type": "generate",
            "unique_request_id": "g",
            "messages": [{"role": "user", "content": "Hi"}],
            "params": {"model_id": scenario.model},
            "stream": True,
        }
        self._left = scenario.requests
        self._tally = tally
        self._rest = b""
        self._open = False
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        key = b64encode(b"0123456789abcdef").decode()
        self._transport.write(
            f"GET / HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._rest += data
        if not self._open:
            _, found, self._rest = self._rest.partition(b"\r\n\r\n")
            self._open = bool(found)
            self._send(self._load)
        while (frame := self._frame()) is not None:
            self._take(frame)

    def begin(self) -> None:
        self._tally.asked()
        self._send(self._generate)

    def _take(self, frame: bytes) -> None:
        message = json.loads(frame)
        kind = message["type"]
        if kind == "generate_stream_chunk":
            self._tally.heard(message["chunk"])
        elif kind == "generate_stream_done":
            self._end(message)
        elif kind == "load_done" and message["is_error"]:
            self.ready.set_exception(RuntimeError(message["message"]))
        elif kind == "load_done":
            self.ready.set_result(None)

    def _end(self, message: dict[str, Any]) -> None:
        self._left -= 1
        if message["is_error"]:
            self.over.set_exception(RuntimeError(message["message"]))
        elif self._left:
            self.begin()
        else:
            self.over.set_result(None)

    def close(self) -> None:
        self._transport.close()

    def _frame(self) -> bytes | None:
        data = self._rest
        if len(data) < 2:
            return None
        length, start = data[1], 2
        if length > 125:
            wide = 2 if length == 126 else 8
            start += wide
            length = int.from_bytes(data[2:start], "big")
        if len(data) < start + length:
            return None
        self._rest = data[start + length :]
        return data[start : start + length] if data[0] == 0x81 else b'{"type":""}'

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode()
        size = len(data)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        self._transport.write(b"\x81" + length + _MASK + data)


async def over_http(scenario: Scenario, base_url: str, outcome: Outcome, prefix: str = "") -> None:
    """All streams of a scenario against a server of OpenAI's API; `prefix` is what it calls the
    models' vendor."""
    address = urlsplit(base_url)
    loop = asyncio.get_running_loop()

    async def stream(number: int) -> None:
        await asyncio.sleep(scenario.spread_seconds * number / scenario.streams)
        make = partial(HttpStream, scenario, address.netloc, Tally(outcome), prefix)
        for _ in range(TRIES):
            _, protocol = await loop.create_connection(make, address.hostname, address.port)
            try:
                return await protocol.over
            except ConnectionResetError:  # LiteLLM resets some of many that come at once
                await asyncio.sleep(0.1)
        raise ConnectionError("reset again and again")

    begun = time.monotonic()
    await asyncio.gather(*(stream(number) for number in range(scenario.streams)))
    outcome.seconds = time.monotonic() - begun


class ModuleCrowd:
    """Clients of our module that are connected and have loaded: their streams can begin."""

    def __init__(self, url: str, account: dict[str, str]) -> None:
        self._url = urlsplit(url)
        self._account = account

    async def run(self, scenario: Scenario, outcome: Outcome, begin: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        streams = []
        for _ in range(scenario.streams):
            arguments = (scenario, self._url.netloc, Tally(outcome), self._account)
            make = partial(ModuleStream, *arguments)
            _, stream = await loop.create_connection(make, self._url.hostname, self._url.port)
            streams.append(stream)
            await stream.ready
        begin()
        begun = time.monotonic()
        await asyncio.gather(*(self._stream(scenario, *each) for each in enumerate(streams)))
        outcome.seconds = time.monotonic() - begun
        for stream in streams:
            stream.close()

    async def _stream(self, scenario: Scenario, number: int, stream: ModuleStream) -> None:
        await asyncio.sleep(scenario.spread_seconds * number / scenario.streams)
        stream.begin()
        await stream.over
