"""From a client's `interrupt` to the finals of 64 streams, and to the vendor's sockets."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from fake_upstreams.running import RunningUpstream, running_upstream
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket

from bench.module import Row, percentile, running_module
from bench.scenario import KEY

STREAMS = 64
INTERRUPT = json.dumps({"type": "interrupt", "unique_request_id": "stop"})


def measure(home: Path, *, short: bool) -> list[Row]:
    rounds = 10 if short else 200
    rows: list[Row] = []
    late = 0
    with running_module(home) as (url, _, _), running_upstream() as upstream:
        for when, talks in (("while they talk", True), ("before the first token", False)):
            echo = Echo(talks)
            rows.append(_row(f"interrupt to final, {when}", asyncio.run(echo.run(url, rounds)), 20))
            vendor = Vendor(talks, upstream)
            finals = asyncio.run(vendor.run(url, max(1, rounds // 4)))
            rows.append(_row(f"interrupt to final, openai, {when}", finals, 20))
            rows.append(_row(f"interrupt to the vendor's socket, {when}", vendor.closed_ms, 50))
            late += echo.late + vendor.late
    return [*rows, Row("chunks of a stopped stream after the ack", str(late), "0")]


def _row(what: str, milliseconds: list[float], aim: int) -> Row:
    middle, high = percentile(milliseconds, 50), percentile(milliseconds, 99)
    figure = f"p50 {middle:.1f} ms, p99 {high:.1f} ms, {len(milliseconds)} streams, {STREAMS} each"
    return Row(what, figure, f"p99 {aim} ms")


class Echo:
    """Streams of our own echo: what the module itself takes."""

    provider: dict[str, str] = {"provider": "echo"}
    streams = STREAMS

    def __init__(self, talks: bool) -> None:
        self._talks = talks
        self.late = 0

    async def run(self, url: str, rounds: int) -> list[float]:
        """How long each final took, in milliseconds."""
        times: list[float] = []
        async with open_websocket(url, compression=None) as websocket:
            load = {"type": "load", "unique_request_id": "load", **self.provider}
            await websocket.send(json.dumps(load))
            await _until(websocket, "load_done", 1)
            for _ in range(rounds):
                for number in range(self.streams):
                    await websocket.send(self._generate(number))
                await self._until_they_run(websocket)
                times += await self._interrupt(websocket)
        return times

    def params(self) -> dict[str, Any]:
        wait = {"delay_ms": 20, "first_delay_ms": 0 if self._talks else 60_000}
        return {"model_id": "count", "max_output_length": 100_000, "extra": wait}

    def _generate(self, number: int) -> str:
        message: dict[str, Any] = {
            "type": "generate",
            "unique_request_id": str(number),
            "messages": [{"role": "user", "content": "Go"}],
            "params": self.params(),
            "stream": True,
        }
        return json.dumps(message)

    async def _until_they_run(self, websocket: ClientConnection) -> None:
        if self._talks:
            await _until(websocket, "generate_stream_chunk", 4 * self.streams)
        else:
            await _until(websocket, "generate_ack", self.streams)

    async def _interrupt(self, websocket: ClientConnection) -> list[float]:
        begun = time.monotonic()
        await websocket.send(INTERRUPT)
        acknowledged, times = False, []
        while len(times) < self.streams:
            kind = json.loads(await websocket.recv())["type"]
            acknowledged = acknowledged or kind == "interrupt_ack"
            self.late += acknowledged and kind == "generate_stream_chunk"
            if kind == "generate_stream_done":
                times.append((time.monotonic() - begun) * 1000)
        await self.stopped(begun)
        return times

    async def stopped(self, begun: float) -> None:
        """All have their finals."""


class Vendor(Echo):
    """The same with streams of the OpenAI provider, down to the vendor's sockets."""

    def __init__(self, talks: bool, upstream: RunningUpstream) -> None:
        super().__init__(talks)
        self._upstream = upstream
        self.provider = {"provider": "openai", "api_key": KEY, "base_url": upstream.base_url}
        self.closed_ms: list[float] = []

    def params(self) -> dict[str, Any]:
        wait = {"delay_ms": 20, "first_delay_ms": 0 if self._talks else 60_000}
        return {"model_id": "gpt-test", "extra": {"fake": {"chunks": 100_000, **wait}}}

    async def _until_they_run(self, websocket: ClientConnection) -> None:
        await super()._until_they_run(websocket)
        await self._upstream.until(lambda log: len(log) == self.streams, 60)

    async def stopped(self, begun: float) -> None:
        log = await self._upstream.until(lambda log: all(each["ended"] for each in log), 60)
        self.closed_ms += [(each["ended"] - begun) * 1000 for each in log]
        await asyncio.to_thread(self._upstream.forget)


async def _until(websocket: ClientConnection, kind: str, count: int) -> None:
    while count:
        count -= json.loads(await websocket.recv())["type"] == kind
