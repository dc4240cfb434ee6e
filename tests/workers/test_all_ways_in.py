"""Jobs and chats whose answers come from workers: neither they nor their clients can tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from far_stage import LEASE, Far
from support import Module

from services.redis import Redis
from waifu_llm.client import connect

TOKEN = "a-token-of-the-test"


@pytest.fixture
def keeping_module(start_module: Callable[..., Module], redis: Redis, tmp_path: Path) -> Module:
    """One with a store, that leaves everything to workers."""
    flags = ["--workers", redis.url, "--worker-lease-seconds", str(LEASE)]
    store = f"sqlite:///{tmp_path / 'store.db'}"
    return start_module(*flags, "--store", store, WAIFU_LLM_TOKEN=TOKEN)


async def test_a_job_is_done_by_workers(
    keeping_module: Module, start_worker: Callable[..., Far]
) -> None:
    worker = start_worker()
    streams = [_stream("first {query}"), _stream("then {previous_stream_output}")]
    async with connect(keeping_module.url) as llm:
        job = await llm.jobs.add("this", {"streams": streams})
        assert "".join([text async for text in job]) == "then first this"
        (seen,) = (await llm.status())["workers"]["workers"]
        assert seen["id"] == worker.id


async def test_an_answer_in_a_chat_comes_from_workers_and_is_kept(
    keeping_module: Module, start_worker: Callable[..., Far]
) -> None:
    start_worker()
    heard: list[str] = []
    async with connect(keeping_module.url, token=TOKEN) as llm:
        do = llm.instructions
        await do.user_create("ann")
        await do.llm_provider_add("echo")
        await do.llm_add("echo", provider_name="echo")
        chat = await do.chat_create("far", usernames=["ann"])
        await do.llm_response_generate(
            chat["chat_id"],
            "over there",
            llm={"provider_name": "echo", "llm_name": "echo"},
            username="ann",
            on_chunk=heard.append,
        )
        kept = await do.chat_load(chat["chat_id"], username="ann")
    assert heard == ["over", " there"]
    assert [each["content"] for each in kept["messages"]] == ["over there", "over there"]


def _stream(content: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": content}]
    return {"provider": "echo", "settings": {"model": "echo"}, "messages": messages}
