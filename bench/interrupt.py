"""From a client's `interrupt` to the finals of 64 streams that it stops."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket

from bench.module import Row, percentile, running_module

STREAMS = 64
INTERRUPT = json.dumps({"type": "interrupt", "unique_request_id": "stop"})


def measure(home: Path, *, short: bool) -> list[Row]:
    rounds = 10 if short else 200
    with running_module(home) as (url, _, _):
        talking, late = asyncio.run(_measure(url, rounds, first_delay_ms=0))
        silent, late_too = asyncio.run(_measure(url, rounds, first_delay_ms=60_000))
    return [
        _row("interrupt to final, while they talk", talking, rounds),
        _row("interrupt to final, before the first token", silent, rounds),
        Row("chunks of a stopped stream after the ack", str(late + late_too), "0"),
    ]


def _row(what: str, milliseconds: list[float], rounds: int) -> Row:
    middle, high = percentile(milliseconds, 50), percentile(milliseconds, 99)
    figure = f"p50 {middle:.1f} ms, p99 {high:.1f} ms, {STREAMS} streams, {rounds} rounds"
    return Row(what, figure, "p99 20 ms")


async def _measure(url: str, rounds: int, first_delay_ms: int) -> tuple[list[float], int]:
    times: list[float] = []
    late = 0
    async with open_websocket(url, compression=None) as websocket:
        await websocket.send('{"type":"load","unique_request_id":"load","provider":"echo"}')
        await _until(websocket, "load_done", 1)
        for _ in range(rounds):
            for number in range(STREAMS):
                await websocket.send(_generate(number, first_delay_ms))
            if first_delay_ms:
                await _until(websocket, "generate_ack", STREAMS)
            else:
                await _until(websocket, "generate_stream_chunk", 4 * STREAMS)
            late += await _interrupt(websocket, times)
    return times, late


def _generate(number: int, first_delay_ms: int) -> str:
    extra = {"delay_ms": 20, "first_delay_ms": first_delay_ms}
    message: dict[str, Any] = {
        "type": "generate",
        "unique_request_id": str(number),
        "messages": [{"role": "user", "content": "Go"}],
        "params": {"model_id": "count", "max_output_length": 100_000, "extra": extra},
        "stream": True,
    }
    return json.dumps(message)


async def _interrupt(websocket: ClientConnection, times: list[float]) -> int:
    """Note how long each final takes, and count the chunks that came too late."""
    begun = time.perf_counter()
    await websocket.send(INTERRUPT)
    acknowledged, finals, late = False, 0, 0
    while finals < STREAMS:
        kind = json.loads(await websocket.recv())["type"]
        acknowledged = acknowledged or kind == "interrupt_ack"
        late += acknowledged and kind == "generate_stream_chunk"
        if kind == "generate_stream_done":
            finals += 1
            times.append((time.perf_counter() - begun) * 1000)
    return late


async def _until(websocket: ClientConnection, kind: str, count: int) -> None:
    while count:
        count -= json.loads(await websocket.recv())["type"] == kind
