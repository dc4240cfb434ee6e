"""Providers in their own environments: their processes alone, and the conformance run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support import LIMIT

from waifu_llm.child import Patience
from waifu_llm.conformance import Finding, examine
from waifu_llm.environments import Environments
from waifu_llm.process import ProviderProcess
from waifu_llm.provider_log import LogFile
from waifu_llm.redaction import Redactor
from waifu_llm.specs import ProviderSpec
from waifu_llm.trial import Subject

PATIENCE = Patience(obey=LIMIT, step=LIMIT)


@pytest.fixture
def python_for(home: Path) -> Callable[[ProviderSpec], Awaitable[Path]]:
    """Installs a provider, unless it is, and gives its interpreter."""
    environments = Environments(home / "provider_envs", home / "cache")
    return lambda spec: environments.ensure(spec, lambda *_: None)


@pytest.fixture
async def start_provider(
    tmp_path: Path, python_for: Callable[[ProviderSpec], Awaitable[Path]]
) -> AsyncIterator[Callable[..., Any]]:
    """Starts a provider's process without a module around it, and loads it."""
    running: list[ProviderProcess] = []

    async def start(spec: ProviderSpec, **settings: Any) -> ProviderProcess:
        log_file = LogFile(tmp_path / "provider.log")
        process = ProviderProcess(spec, log_file, Redactor([]), PATIENCE)
        running.append(process)
        await process.start(await python_for(spec), tmp_path)
        await process.load(settings, None, lambda *_: None)
        return process

    yield start
    for process in running:
        await process.close()


@pytest.fixture
def conformance_of(
    tmp_path: Path, python_for: Callable[[ProviderSpec], Awaitable[Path]]
) -> Callable[..., Awaitable[dict[str, Finding]]]:
    """What did not pass in the conformance run, by its name. What is not declared is skipped."""

    async def run(spec: ProviderSpec, model_id: str, **settings: Any) -> dict[str, Finding]:
        subject = Subject(
            spec=spec,
            install=lambda: python_for(spec),
            cwd=tmp_path,
            log_file=LogFile(tmp_path / "provider.log"),
            settings=settings,
            model_id=model_id,
            embed_model_id=model_id,
            seconds=LIMIT,
            patience=PATIENCE,
        )
        findings = [finding async for finding in examine(subject)]
        return {each.name: each for each in findings if not _is_well(each)}

    return run


def _is_well(finding: Finding) -> bool:
    return finding.outcome == "passed" or "does not declare it" in finding.why
