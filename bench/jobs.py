"""Jobs a second, what one costs in each process, and what the same costs as a `generate`."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket

from bench.module import Row, running_module
from bench.targets import cpu_seconds
from waifu_llm.client import connect

AT_ONCE = 64
ROUNDS = 5
MESSAGES = [{"role": "user", "content": "{query}"}]
ASSISTANT = {"streams": [{"provider": "echo", "settings": {"model": "echo"}, "messages": MESSAGES}]}
Make = Callable[[int], dict[str, Any]]
Kinds = dict[str, tuple[Make, str]]
"""What is asked, and the type of the message that ends it."""


def measure(home: Path, *, short: bool) -> list[Row]:
    count, rounds = (1000, 1) if short else (5000, ROUNDS)
    with running_module(home) as (url, pid, _):
        rows = _compare(url, pid, KINDS, count, rounds)
    with running_module(home, "--store", "sqlite") as (url, pid, _):
        stored = {"jobs, kept in SQLite,": KINDS["jobs"]}
        return [*rows, *_compare(url, pid, stored, count // 5, rounds)]


def _compare(url: str, pid: int, kinds: Kinds, count: int, rounds: int) -> list[Row]:
    """In turn, so that whatever else this machine does falls upon all."""
    provider = asyncio.run(_load(url))
    figures: dict[str, list[tuple[float, ...]]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, (make, end) in kinds.items():
            figures[name].append(asyncio.run(_run(url, count, make, end, [pid, provider])))
    return [_row(name, each) for name, each in figures.items()]


def _job(number: int) -> dict[str, Any]:
    return {"type": "add", "id": str(number), "query": "word", "assistant": ASSISTANT}


def _generate(number: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": "word"}]
    asked = {"type": "generate", "unique_request_id": str(number), "provider": "echo"}
    return {**asked, "messages": messages, "params": {"model_id": "echo"}, "stream": True}


KINDS: Kinds = {
    "jobs": (_job, "done"),
    "the same as generate": (_generate, "generate_stream_done"),
}


async def _load(url: str) -> int:
    """Load once, so that it is installed and stays warm."""
    async with connect(url) as client:
        await client.load("echo")
        (loaded,) = (await client.status())["loads"]
        return int(loaded["pid"])


async def _run(url: str, count: int, make: Make, end: str, pids: list[int]) -> tuple[float, ...]:
    """Seconds in all, and of CPU in each process."""
    async with open_websocket(url, compression=None, max_size=None) as websocket:
        await _all(websocket, 200, make, end)
        before, begun = [cpu_seconds(pid) for pid in pids], time.perf_counter()
        await _all(websocket, count, make, end)
        took = time.perf_counter() - begun
    spent = [cpu_seconds(pid) - then for pid, then in zip(pids, before, strict=True)]
    return tuple(each / count for each in (took, *spent))


async def _all(websocket: ClientConnection, count: int, make: Make, end: str) -> None:
    mark = f'"type":"{end}"'
    for number in range(AT_ONCE):
        await websocket.send(json.dumps(make(number)))
    asked, ended = AT_ONCE, 0
    while ended < count:
        if mark in await websocket.recv():
            ended += 1
            if asked < count:
                await websocket.send(json.dumps(make(asked)))
                asked += 1


def _row(what: str, rounds: list[tuple[float, ...]]) -> Row:
    each, core, provider = (statistics.median(values) for values in zip(*rounds, strict=True))
    figure = (
        f"{1 / each:.0f}/s, {1e6 * core:.0f} µs CPU of the core, {1e6 * provider:.0f} µs of echo"
    )
    return Row(f"{what} of one word, {AT_ONCE} at a time", figure)
