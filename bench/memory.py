"""Resident memory: idle, with a provider, and for each connection."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from fake_upstreams.running import running_upstream

from bench.module import Row, running_module
from bench.scenario import KEY
from soak.family import descendants
from waifu_llm import system
from waifu_llm.client import connect

CONNECTIONS = 256
MEGABYTE = 2**20


def measure(home: Path, *, short: bool) -> list[Row]:
    with running_module(home) as (url, pid, _):
        rows = asyncio.run(_measure(url, pid))
    with running_upstream() as upstream, running_module(home) as (url, pid, _):
        return [*rows, asyncio.run(_measure_openai(url, pid, upstream.base_url))]


async def _measure_openai(url: str, pid: int, upstream: str) -> Row:
    async with connect(url) as client:
        await client.load("openai", api_key=KEY, base_url=upstream)
        all_of_it = sum(_resident(each) for each in [pid, *descendants(pid)])
    return Row("idle with openai loaded, all processes", f"{all_of_it:.1f} MB", "120 MB")


async def _measure(url: str, pid: int) -> list[Row]:
    idle = _resident(pid)
    async with connect(url) as client:
        await client.load("echo")
        loaded = _resident(pid)
        provider = (await client.status())["loads"][0]["memory_bytes"] / MEGABYTE
        async with AsyncExitStack() as stack:
            for _ in range(CONNECTIONS):
                await stack.enter_async_context(connect(url))
            crowded = _resident(pid)
    return [
        Row("idle core, resident", f"{idle:.1f} MB", "40 MB"),
        Row("echo's process, resident", f"{provider:.1f} MB"),
        Row(f"{CONNECTIONS} connections add", f"{crowded - loaded:.1f} MB", "25 MB"),
    ]


def _resident(pid: int) -> float:
    return (system.resident_bytes(pid) or 0) / MEGABYTE
