"""Modules at a home of a test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import Module


@pytest.fixture
def start_at(tmp_path: Path) -> Iterator[Callable[..., Module]]:
    """Starts modules at a home of this test's own."""
    modules: list[Module] = []

    def start(*flags: str, **environ: str) -> Module:
        modules.append(Module.start(tmp_path / "home", flags, environ))
        return modules[-1]

    yield start
    for module in modules:
        module.kill()
