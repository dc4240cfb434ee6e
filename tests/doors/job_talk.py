"""What tests of jobs over the socket say and hear."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from support import Wire

Dial = Callable[..., AbstractAsyncContextManager[Wire]]
FINALS = ("done", "failed")


def add(
    query: str = "hello there",
    id: str = "mine",
    settings: Any = None,
    provider: str = "echo",
    **more: Any,
) -> Any:
    """An `add` of one stream, which says the query. `narrow` takes one at a time."""
    stream = {
        "provider": provider,
        "settings": {"model": "echo", **(settings or {})},
        "messages": [{"role": "user", "content": "{query}"}],
    }
    return {"type": "add", "id": id, "query": query, "assistant": {"streams": [stream]}, **more}


def endless(id: str = "endless", **more: Any) -> Any:
    """It says `1`, and nothing else."""
    settings = {"model": "count", "extra": {"delay_ms": 3_600_000}, "timeout_ms": 3_600_000}
    return add(id=id, settings=settings, **more)


def said(messages: list[dict[str, Any]], job_id: str) -> str:
    return "".join(
        each["message"]
        for each in messages
        if each["type"] == "running" and each["job_id"] == job_id
    )


async def all_said(wire: Wire, ids: list[str]) -> dict[str, list[str]]:
    """All that is heard of these jobs until all are done, each by itself."""
    heard: dict[str, list[str]] = {id: [] for id in ids}
    running = set(ids)
    while running:
        told = await wire.receive()
        assert told["job_id"] in running
        if told["type"] == "running":
            heard[told["job_id"]].append(told["message"])
        else:
            assert told["type"] == "done"
            running.remove(told["job_id"])
    return heard


async def begun(wire: Wire, message: Any) -> str:
    """Add a job, and hear its first word; returns its id."""
    job_id: str = (await wire.ask(message))["job_id"]
    while (heard := await wire.receive())["type"] != "running" or not heard["message"]:
        assert heard["type"] in ("pending", "running")
    return job_id
