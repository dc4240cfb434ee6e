"""Compiles llama.cpp beside the other tests: what comes of it is kept in `.cache` of the checkout.
One does it, and who needs it meanwhile waits.

python tests/compiling.py
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from filelock import FileLock

from waifu_llm.environments import Environments
from waifu_llm.paths import bundled_providers
from waifu_llm.plugins import discover

KEPT = Path(__file__).parent.parent / ".cache"
_POLITELY = 10


def start() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, __file__], stderr=subprocess.DEVNULL)


def install(name: str, home: Path) -> None:
    """Into a home of the tests."""
    spec = discover(bundled_providers(), home / "none").find(name)
    environments = Environments(home / "provider_envs", KEPT)
    KEPT.mkdir(exist_ok=True)
    with FileLock(KEPT / f"{name}.lock"):
        asyncio.run(environments.ensure(spec, lambda *_: None))


def main() -> None:
    if hasattr(os, "nice"):
        os.nice(_POLITELY)
    with tempfile.TemporaryDirectory() as home:
        install("llamacpp", Path(home))


if __name__ == "__main__":
    main()
