"""Providers in their own environments: in a real module, their processes alone, and on trial."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_upstreams.running import RunningUpstream, running_upstream
from support import LIMIT, Module, Wire
from vendor import KEY, Vendor

from waifu_llm.child import Patience
from waifu_llm.conformance import Finding, examine
from waifu_llm.environments import Environments
from waifu_llm.paths import bundled_providers
from waifu_llm.process import ProviderProcess
from waifu_llm.provider_log import LogFile
from waifu_llm.redaction import Redactor
from waifu_llm.specs import ProviderSpec
from waifu_llm.trial import Subject

PATIENCE = Patience(obey=LIMIT, step=LIMIT)


@pytest.fixture
def python_for(environments: Environments) -> Callable[[ProviderSpec], Awaitable[Path]]:
    """Installs a provider, unless it is, and gives its interpreter."""
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


# For one vendor a file: see vendor.py


@pytest.fixture(scope="module")
def vendor(request: pytest.FixtureRequest) -> Vendor:
    """The one that a file is about."""
    return request.module.VENDOR


@pytest.fixture(scope="session")
def environments(home: Path) -> Environments:
    return Environments(home / "provider_envs", home / "cache")


@pytest.fixture(scope="module")
def upstream(vendor: Vendor) -> Iterator[RunningUpstream]:
    with running_upstream(vendor.script) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def spec(vendor: Vendor) -> ProviderSpec:
    return ProviderSpec.from_folder(bundled_providers() / vendor.name)


@pytest.fixture(scope="module")
def installed(
    spec: ProviderSpec, environments: Environments, start_module: Callable[..., Module]
) -> Module:
    """Its environment is made before anybody waits for it: an index may be slow."""
    asyncio.run(environments.ensure(spec, lambda *_: None))
    return start_module()


@pytest.fixture
async def wire(
    vendor: Vendor, installed: Module, upstream: RunningUpstream, dial: Callable[..., Any]
) -> AsyncIterator[Wire]:
    async with dial(installed.url) as wire:
        loaded = await vendor.load(wire, upstream)
        assert loaded["error"] == "SUCCESS", loaded
        upstream.forget()
        yield wire


@pytest.fixture
async def embed(
    vendor: Vendor,
    spec: ProviderSpec,
    environments: Environments,
    upstream: RunningUpstream,
    tmp_path: Path,
) -> AsyncIterator[Callable[..., Any]]:
    """Asks its process for embeddings, loaded as the module would."""
    log = LogFile(tmp_path / "provider.log")
    process = ProviderProcess(spec, log, Redactor([KEY]), Patience())
    await process.start(await environments.ensure(spec, lambda *_: None), tmp_path)
    await process.load({"api_key": KEY, "base_url": upstream.base_url}, None, lambda *_: None)
    upstream.forget()
    yield process.embed
    await process.close()
