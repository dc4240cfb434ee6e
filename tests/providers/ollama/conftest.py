"""The Ollama provider, installed from its lock, against an upstream that speaks the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_upstreams.running import OLLAMA, RunningUpstream, running_upstream
from ollama_stage import SPEC, load
from support import Module, Wire

from waifu_llm.environments import Environments
from waifu_llm.provider_log import LogFile
from waifu_llm.trial import Subject, Trial


@pytest.fixture(scope="module")
def upstream() -> Iterator[RunningUpstream]:
    with running_upstream(OLLAMA, ("/api/chat", "/api/generate")) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def python(home: Path) -> Path:
    """The interpreter of its environment, made before anybody waits for it."""
    environments = Environments(home / "provider_envs", home / "cache")
    return asyncio.run(environments.ensure(SPEC, lambda *_: None))


@pytest.fixture(scope="module")
def installed(python: Path, start_module: Callable[..., Module]) -> Module:
    return start_module()


@pytest.fixture
async def wire(
    installed: Module, upstream: RunningUpstream, dial: Callable[..., Any]
) -> AsyncIterator[Wire]:
    async with dial(installed.url) as wire:
        loaded = await load(wire, upstream)
        assert loaded["error"] == "SUCCESS", loaded
        upstream.forget()
        yield wire


@pytest.fixture
def trial(python: Path, upstream: RunningUpstream, tmp_path: Path) -> Callable[..., Any]:
    """A process of the provider alone, for what the protocol of clients does not have."""

    async def interpreter() -> Path:
        return python

    @asynccontextmanager
    async def trial(model_id: str | None = None, **settings: Any) -> AsyncIterator[Trial]:
        settings = {"base_url": upstream.base_url, **settings}
        log_file = LogFile(tmp_path / "provider.log")
        subject = Subject(
            spec=SPEC,
            install=interpreter,
            cwd=tmp_path,
            log_file=log_file,
            settings=settings,
            model_id=model_id,
            embed_model_id="vectors",
        )
        trial = Trial(subject)
        try:
            yield trial
        finally:
            await trial.end()

    return trial
