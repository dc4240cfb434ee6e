"""A module that leaves everything to workers, and workers, as an operator starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from far_stage import LEASE, Far
from support import Module

from services.redis import Redis


@pytest.fixture
def start_worker(home: Path, redis: Redis) -> Iterator[Callable[..., Far]]:
    workers: list[Far] = []

    def start(*flags: str, offers: str = "echo") -> Far:
        command = [sys.executable, "-m", "waifu_llm", "worker", "--redis", redis.url, *flags]
        command += ["--offers", offers, "--worker-lease-seconds", str(LEASE)]
        variables = {**os.environ, "WAIFU_LLM_HOME": str(home)}
        process = subprocess.Popen(command, env=variables, text=True, stdout=subprocess.PIPE)
        workers.append(Far(process))
        return workers[-1]

    yield start
    for worker in workers:
        worker.end()


@pytest.fixture(scope="module")
def far_module(start_module: Callable[..., Module], redis: Redis) -> Module:
    """One that leaves everything to workers."""
    return start_module("--workers", redis.url, "--worker-lease-seconds", str(LEASE))
