"""Hosts alone: bare children that speak JSON lines, on our Python and the oldest.

The host's modules are imported as inside a provider's process: by their own names.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from host_stage import Host, oldest_python

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "waifu_llm" / "provider_host"))


@pytest.fixture(params=["our Python", "the oldest Python"])
def python(request: pytest.FixtureRequest) -> str:
    if request.param == "our Python":
        return sys.executable
    return oldest_python() or pytest.skip("Python 3.9 is not installed here")


@pytest.fixture
def run(python: str, tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """Starts hosts of a provider folder and ends them all."""
    hosts: list[Host] = []

    def run(folder: Path, *options: str, entry: str = "provider:Tried") -> Host:
        stderr = tmp_path / f"stderr{len(hosts)}"
        hosts.append(Host(python, folder, entry, stderr, *options))
        return hosts[-1]

    yield run
    for host in hosts:
        host.clear()


@pytest.fixture
def provider(tmp_path: Path) -> Callable[..., Path]:
    """Writes a provider folder, with other modules beside it where a test wants them."""

    def write(source: str, **modules: str) -> Path:
        folder = tmp_path / "tried"
        folder.mkdir()
        head = "import asyncio, json, os, sys, time\nfrom waifu_provider import *\n"
        (folder / "provider.py").write_text(head + dedent(source), "utf-8")
        for name, text in modules.items():
            (folder / f"{name}.py").write_text(text, "utf-8")
        return folder

    return write


@pytest.fixture
def start(run: Callable[..., Host], provider: Callable[..., Path]) -> Callable[..., Host]:
    """Starts a host of a provider that is written in the test, and reads its first line."""

    def start(source: str, **modules: str) -> Host:
        host = run(provider(source, **modules))
        assert host.read()["ready"] == 1
        return host

    return start
