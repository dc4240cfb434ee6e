"""Environments: how fast they are made, what they take, and how soon a provider is there."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fake_upstreams.running import running_upstream

from bench.module import Row, running_module
from bench.scenario import KEY
from waifu_llm.client import connect
from waifu_llm.environments import Environments
from waifu_llm.paths import bundled_providers
from waifu_llm.specs import ProviderSpec

ROUNDS = 5


def measure(home: Path, *, short: bool) -> list[Row]:
    rounds = 1 if short else ROUNDS
    spec = ProviderSpec.from_folder(bundled_providers() / "openai")
    return [_installation(spec, rounds), _second(spec), _load(home, spec, rounds)]


def _installation(spec: ProviderSpec, rounds: int) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = _in_turn(
            lambda: _install(spec, Path(folder)), lambda: _with_pip(spec, Path(folder)), rounds
        )
    figure = f"{theirs / ours:.1f} times faster ({1000 * ours:.0f} ms to {1000 * theirs:.0f} ms)"
    return Row("install openai, warm cache, to `python -m venv` and pip", figure, "4 times")


def _in_turn(
    one: Callable[[], None], other: Callable[[], None], rounds: int
) -> tuple[float, float]:
    """Medians, side by side; the first round only warms the caches."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for work, took in zip((one, other), seconds, strict=True):
            begun = time.perf_counter()
            work()
            if number:
                took.append(time.perf_counter() - begun)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def _install(spec: ProviderSpec, folder: Path) -> None:
    shutil.rmtree(folder / "environments", ignore_errors=True)
    environments = Environments(folder / "environments", folder / "cache")
    asyncio.run(environments.install(spec, lambda *_: None))


def _with_pip(spec: ProviderSpec, folder: Path) -> None:
    shutil.rmtree(folder / "venv", ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    pip = [str(folder / "venv" / "bin" / "python"), "-m", "pip", "install", "-q"]
    cache = ["--cache-dir", str(folder / "pip-cache"), "--disable-pip-version-check"]
    subprocess.run([*pip, *cache, "-r", str(spec.lock_file)], check=True, capture_output=True)


def _second(spec: ProviderSpec) -> Row:
    """Another provider that needs the same packages."""
    with tempfile.TemporaryDirectory() as folder:
        twin = shutil.copytree(spec.folder, Path(folder, "twin"))
        for shared in spec.shares:
            shutil.copytree(spec.folder.parent / shared, Path(folder, shared))
        declared = (twin / "provider.toml").read_text("utf-8")
        (twin / "provider.toml").write_text(declared.replace('"openai"', '"twin"', 1), "utf-8")
        environments = Environments(Path(folder, "environments"), Path(folder, "cache"))
        asyncio.run(environments.install(spec, lambda *_: None))
        first = environments.total_bytes()
        asyncio.run(environments.install(ProviderSpec.from_folder(twin), lambda *_: None))
        added = environments.total_bytes() - first
        (alone,) = (each.bytes for each in environments.installed() if each.provider == "openai")
    figure = f"{100 * added / alone:.0f} % ({added / 1e6:.1f} MB to {alone / 1e6:.1f} MB)"
    return Row("a second provider with the same packages adds, of its size", figure, "25 %")


def _load(home: Path, spec: ProviderSpec, rounds: int) -> Row:
    with running_upstream() as upstream, running_module(home, "--idle-seconds", "0") as (url, _, _):
        asyncio.run(_load_once(url, upstream.base_url))  # installs it
        python = str(Environments(home / "provider_envs", home / "cache").find(spec))
        bare = [python, "-I", "-c", "import openai"]
        ours, theirs = _in_turn(
            lambda: asyncio.run(_load_once(url, upstream.base_url)),
            lambda: subprocess.run(bare, check=True) and None,
            2 * rounds,
        )
    figure = f"{ours / theirs:.2f} times ({1000 * ours:.0f} ms to {1000 * theirs:.0f} ms)"
    return Row("load openai, to a bare `import openai`", figure, "1.5 times")


async def _load_once(url: str, upstream: str) -> None:
    async with connect(url) as client:
        await client.load("openai", api_key=KEY, base_url=upstream)
