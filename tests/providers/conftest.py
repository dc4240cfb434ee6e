"""A vendor's provider, installed from its lock, in a real module, against a fake upstream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_upstreams.running import RunningUpstream, running_upstream
from support import Module, Wire
from vendor import KEY, Vendor

from waifu_llm.child import Patience
from waifu_llm.environments import Environments
from waifu_llm.paths import bundled_providers
from waifu_llm.process import ProviderProcess
from waifu_llm.provider_log import LogFile
from waifu_llm.redaction import Redactor
from waifu_llm.specs import ProviderSpec


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
