"""A bare host: a child that speaks JSON lines."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

from support import LIMIT

from waifu_llm import wire
from waifu_llm.paths import HOST

ROOT = Path(__file__).parents[2]
ECHO = ROOT / "providers" / "echo"
FAKES = ROOT / "tests" / "fake_providers"


def oldest_python() -> str | None:
    pyenv = Path.home() / ".pyenv" / "versions"
    found = [str(each) for each in sorted(pyenv.glob("3.9*/bin/python"))]
    on_path = shutil.which("python3.9")
    works = on_path and subprocess.run([on_path, "-c", ""], capture_output=True).returncode == 0
    return found[0] if found else (on_path if works else None)


class Host:
    """One host. It is killed when it lets a test wait for too long."""

    def __init__(self, python: str, folder: Path, entry: str, stderr: Path, *options: str) -> None:
        command = [python, "-I", "-u", "-X", "utf8", str(HOST), str(folder), entry, *options]
        self._stderr = stderr
        with stderr.open("wb") as errors:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
            self.process = subprocess.Popen(command, **pipes)
        self._watchdog = threading.Timer(LIMIT, self.process.kill)
        self._watchdog.start()

    @property
    def stderr(self) -> str:
        return self._stderr.read_text("utf-8", "replace")

    def read(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        assert line, f"the host has ended, or hung: {self.stderr}"
        assert line.isascii()
        wire.decode_line(line)
        return json.loads(line)

    def write(self, *lines: dict[str, Any] | bytes) -> None:
        data = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in lines]
        self.process.stdin.write(b"".join(each + b"\n" for each in data))
        self.process.stdin.flush()

    def until_end(self, number: int = 1) -> list[dict[str, Any]]:
        """All lines of one request; those of others are passed over."""
        lines: list[dict[str, Any]] = []
        while not lines or not {"done", "error"} & set(lines[-1]):
            line = self.read()
            lines += [line] if line.get("id") == number else []
        return lines

    def ask(self, op: str, number: int = 1, **fields: Any) -> list[dict[str, Any]]:
        self.write({"id": number, "op": op, **fields})
        return self.until_end(number)

    def generate(self, number: int = 1, **params: Any) -> list[dict[str, Any]]:
        self.write(generate(number, **params))
        return self.until_end(number)

    def end(self) -> int:
        self.process.stdin.close()
        return self.process.wait(LIMIT)

    def clear(self) -> None:
        self._watchdog.cancel()
        self.process.kill()
        self.process.wait(LIMIT)
        self.process.stdout.close()
        if not self.process.stdin.closed:
            self.process.stdin.close()


def generate(number: int = 1, content: str = "", **params: Any) -> dict[str, Any]:
    params = {"model_id": "any", **params}
    messages = [{"role": "user", "content": content}]
    return {
        "id": number,
        "op": "generate",
        "messages": messages,
        "params": params,
        "stream": True,
    }


def spoken(lines: list[dict[str, Any]], field: str = "chunk") -> str:
    return "".join(line.get(field, "") for line in lines)


SAYS_PIECES = """
    class Tried(Provider):
        async def generate(self, request):
            for piece in request.extra["pieces"]:
                yield piece
"""
