"""The command line as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import LIMIT

Ended = subprocess.CompletedProcess[str]


@pytest.fixture
def waifu_llm(home: Path) -> Callable[..., Ended]:
    """Runs `waifu-llm` to its end."""

    def run(*arguments: str, stdin: str = "", **environ: str) -> Ended:
        command = [sys.executable, "-m", "waifu_llm", *arguments]
        variables = {**os.environ, "WAIFU_LLM_HOME": str(home), "PYTHONUTF8": "1", **environ}
        ended = subprocess.run(
            command,
            input=stdin,
            env=variables,
            capture_output=True,
            encoding="utf-8",
            timeout=LIMIT,
        )
        assert "Traceback" not in ended.stderr, ended.stderr
        return ended

    return run
