"""What a client does again and again that shares no line with the module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stdlib_client import Client, Message
from support import Module

Start = Callable[..., Module]
HOUR_MS = 3_600_000
SLOW = {"model_id": "count", "extra": {"delay_ms": HOUR_MS}}
BRISK = {"model_id": "count", "max_output_length": 9, "extra": {"delay_ms": 1}}
COMPLETE = {"response", "finish_reason", "provider", "model_id", "usage", "timing", "tool_calls"}


async def begin_life(url: str) -> Client:
    client = await Client.dial(url)
    hello = await client.ask("hello", client="third 1.0", protocol=1)
    assert (hello["type"], hello["error"]) == ("hello_done", "SUCCESS")
    return client


async def load_echo(client: Client) -> None:
    loaded = await client.ask("load", provider="echo")
    assert (loaded["type"], loaded["error"]) == ("load_done", "SUCCESS")


def said(answers: list[Message]) -> str:
    return "".join(a["chunk"] for a in answers if a["type"] == "generate_stream_chunk")


async def begin_slow(client: Client, **fields: Any) -> str:
    """Starts an answer that says `1`, and then nothing for an hour."""
    id = client.begin(params=SLOW, **fields)
    assert (await client.next(id))["type"] == "generate_ack"
    assert (await client.next(id))["chunk"] == "1"
    return id


def assert_complete(final: Message) -> None:
    assert final.keys() >= COMPLETE
    timing = final["timing"]
    assert timing.keys() >= {"queued_ms", "first_token_ms", "total_ms"}
    assert timing["total_ms"] >= timing["queued_ms"] >= 0
