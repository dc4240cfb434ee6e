"""What tests of the Python client share."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from support import LIMIT, Module
from websockets.asyncio.server import ServerConnection

from waifu_llm.client import Client, Stream
from waifu_llm.errors import Unavailable

StartModule = Callable[..., Module]
NO_ANSWER = {
    "response": "",
    "finish_reason": "interrupt",
    **dict.fromkeys(["provider", "model_id", "usage", "timing", "tool_calls"]),
}


def endless(client: Client, delay_ms: float = 60_000, **more: Any) -> Stream:
    """A stream that says `1` and, but for a short delay, nothing else for a long time."""
    return client.stream(
        "Go", model="count", max_output_length=10_000, extra={"delay_ms": delay_ms}, **more
    )


async def text_of(stream: Stream) -> str:
    async with asyncio.timeout(LIMIT):
        return "".join([chunk async for chunk in stream])


async def begun(client: Client, **more: Any) -> tuple[Stream, asyncio.Task[str]]:
    """An endless stream that has said its first word, and the task that listens to it."""
    stream = endless(client, **more)
    started = asyncio.Event()

    async def listen() -> str:
        said = ""
        async for chunk in stream:
            said += chunk
            started.set()
        return said

    task = asyncio.create_task(listen())
    async with asyncio.timeout(LIMIT):
        await started.wait()
    return stream, task


async def until_generating(client: Client, count: int) -> None:
    async with asyncio.timeout(LIMIT):
        while (await client.status())["generations"] != count:
            pass


async def until_upstream_is_idle(client: Client) -> None:
    async with asyncio.timeout(LIMIT):
        while any(load.get("requests") for load in (await client.status())["loads"]):
            pass


async def until_lost(task: asyncio.Task[Any]) -> None:
    async with asyncio.timeout(LIMIT):
        with pytest.raises(Unavailable, match="lost"):
            await task


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def slow_to_end(websocket: ServerConnection) -> None:
    """A module that sends the final of what was interrupted only after it was asked for more."""
    async for data in websocket:
        asked = json.loads(data)
        echo = {"unique_request_id": asked.get("unique_request_id"), "error": "SUCCESS"}
        if asked["type"] == "hello":
            answers = [{"type": "hello_done"}]
        elif asked["type"] == "generate":
            generation = asked["unique_request_id"]
            answers = [{"type": "generate_stream_chunk", "chunk": it} for it in ("heard", "not")]
        elif asked["type"] == "interrupt":
            answers = [{"type": "interrupt_ack", "interrupted": [generation]}]
        else:
            final = {"unique_request_id": generation, "error": "INTERRUPT"}
            answers = [{"type": "generate_stream_done", **NO_ANSWER, **final}]
            answers.append({"type": "status_done"})
        for answer in answers:
            await websocket.send(json.dumps({**echo, **answer}))
