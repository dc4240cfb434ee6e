"""A fake upstream in a process of its own, and what it says was asked of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

HERE = Path(__file__).parent
OPENAI = HERE / "openai_api.py"
OLLAMA = HERE / "ollama_api.py"
NOVELAI = HERE / "novelai_api.py"


class RunningUpstream:
    """Where it listens, and its log."""

    def __init__(self, base_url: str, generates: tuple[str, ...]) -> None:
        self.base_url = base_url
        self._generates = generates

    def log(self) -> list[dict[str, Any]]:
        """Every request so far, but for those of `/log` itself."""
        return self._get("log")

    def forget(self) -> None:
        self._get("forget")

    def completions(self) -> list[dict[str, Any]]:
        return [each for each in self.log() if each["path"].endswith(self._generates)]

    def posted(self) -> list[dict[str, Any]]:
        """All that was asked to be made: not the lists of models."""
        return [each for each in self.log() if each["method"] == "POST"]

    async def until(self, holds: Callable[[list[dict[str, Any]]], bool], seconds: float) -> Any:
        """The log of what was posted, once something holds of it that will."""
        async with asyncio.timeout(seconds):
            while not holds(log := await asyncio.to_thread(self.posted)):
                await asyncio.sleep(0.01)
        return log

    def _get(self, what: str) -> Any:
        with urllib.request.urlopen(urljoin(self.base_url, f"/{what}")) as answer:
            return json.load(answer)


@contextmanager
def running_upstream(
    script: Path = OPENAI, generates: tuple[str, ...] = ("/completions",)
) -> Iterator[RunningUpstream]:
    """`generates` is how the paths end by which this one is asked for text."""
    command = [sys.executable, str(script)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield RunningUpstream(line.removeprefix("listening on ").strip(), generates)
        process.stdin.close()
