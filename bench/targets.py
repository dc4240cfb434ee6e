"""Who is measured: the bare stream, the vendor's SDK, LiteLLM's proxy, and we."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from bench.client import ModuleCrowd, over_http
from bench.module import running_module
from bench.scenario import FLOOD, KEY, PACED, SHORT, Outcome, Scenario
from soak.family import descendants
from waifu_llm import system
from waifu_llm.client import connect

KEPT = Path(__file__).resolve().parent.parent / ".bench"
"""What is too large to be installed for every run."""
LITELLM = "litellm[proxy]==1.106.2"
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, by the kernel's own account."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


class Direct:
    """The bare HTTP stream, read by the load itself: nobody can be faster."""

    name = "direct"

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    def run(self, scenario: Scenario) -> Outcome:
        outcome = Outcome()
        asyncio.run(over_http(scenario, self._base_url, outcome))
        return outcome


class Sdk:
    """A vendor's SDK in a process of its own, typed events and all."""

    name = "sdk"

    def __init__(self, base_url: str, python: Path, vendor: str = "openai") -> None:
        self._command = [str(python), str(Path(__file__).with_name("sdks")), vendor, base_url]

    def run(self, scenario: Scenario) -> Outcome:
        asked = json.dumps({**asdict(scenario), "model": scenario.model})
        done = subprocess.run(self._command, input=asked, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        return Outcome(**json.loads(done.stdout))


class Proxy:
    """LiteLLM's proxy, one worker, no database."""

    name = "litellm"

    def __init__(self, base_url: str, pid: int, start_seconds: float) -> None:
        self._base_url = base_url
        self.pid = pid
        self.start_seconds = start_seconds
        self.idle_bytes = sum(system.resident_bytes(each) or 0 for each in [pid, *descendants(pid)])

    def run(self, scenario: Scenario) -> Outcome:
        outcome, before = Outcome(), cpu_seconds(self.pid)
        asyncio.run(over_http(scenario, self._base_url, outcome))
        outcome.cpu_seconds = {"litellm": cpu_seconds(self.pid) - before}
        return outcome


class Module:
    """We: the core and the provider's process."""

    name = "waifu-llm"

    def __init__(self, url: str, pid: int, base_url: str, provider: str = "openai") -> None:
        self._url = url
        self._base_url = base_url
        self.provider = provider
        self.pid = pid
        self.provider_pid = asyncio.run(self._load())

    def run(self, scenario: Scenario) -> Outcome:
        outcome, before = Outcome(), [0.0, 0.0]

        def begin() -> None:
            before[:] = self._cpu()

        account = {"provider": self.provider, "api_key": KEY, "base_url": self._base_url}
        crowd = ModuleCrowd(self._url, account)
        asyncio.run(crowd.run(scenario, outcome, begin))
        spent = [now - then for now, then in zip(self._cpu(), before, strict=True)]
        outcome.cpu_seconds = dict(zip(("core", "provider"), spent, strict=True))
        return outcome

    def _cpu(self) -> list[float]:
        return [cpu_seconds(self.pid), cpu_seconds(self.provider_pid)]

    async def _load(self) -> int:
        """Load once, so that it is installed and stays warm."""
        async with connect(self._url) as client:
            await client.load(self.provider, api_key=KEY, base_url=self._base_url)
            (loaded,) = (await client.status())["loads"]
            return int(loaded["pid"])


class Door:
    """We, over HTTP: the same process and provider, by the door that speaks OpenAI's API."""

    name = "waifu-llm, HTTP"

    def __init__(self, port: int, pid: int, provider_pid: int) -> None:
        self._base_url = f"http://127.0.0.1:{port}/v1"
        self._pids = pid, provider_pid

    def run(self, scenario: Scenario) -> Outcome:
        outcome, before = Outcome(), [cpu_seconds(pid) for pid in self._pids]
        asyncio.run(over_http(scenario, self._base_url, outcome, "openai/"))
        spent = [cpu_seconds(pid) - then for pid, then in zip(self._pids, before, strict=True)]
        outcome.cpu_seconds = dict(zip(("core", "provider"), spent, strict=True))
        return outcome


@contextmanager
def running_proxy(upstream: str) -> Iterator[Proxy]:
    """Installed into an environment of its own, at its first use."""
    python = _litellm_python(KEPT / "litellm")
    config, port = KEPT / "litellm.yaml", free_port()
    models = {each.model for each in (*FLOOD, *PACED, *SHORT)}
    entries = [
        {
            "model_name": model,
            "litellm_params": {"model": f"openai/{model}", "api_base": upstream, "api_key": KEY},
        }
        for model in sorted(models)
    ]
    no_key = {"dangerously_permit_weak_or_unset_master_key": True}
    settings = {"model_list": entries, "general_settings": no_key}
    config.write_text(json.dumps(settings), "utf-8")  # which is YAML as well
    command = [str(python.with_name("litellm")), "--config", str(config), "--port", str(port)]
    variables = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    command += ["--host", "127.0.0.1", "--num_workers", "1"]
    begun = time.monotonic()
    with (KEPT / "litellm.log").open("wb") as log:
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
    try:
        _wait_until_it_answers(f"http://127.0.0.1:{port}/health/liveliness", process)
        yield Proxy(f"http://127.0.0.1:{port}/v1", process.pid, time.monotonic() - begun)
    finally:
        process.terminate()
        process.wait()


def _litellm_python(folder: Path) -> Path:
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        print(f"installing {LITELLM}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(exist_ok=True)
        subprocess.run([sys.executable, "-m", "virtualenv", "-q", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", LITELLM], check=True)
        (folder / "installed").touch()
    return python


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"LiteLLM's proxy ended before it answered: see {KEPT}/litellm.log")


def python_of(home: Path, provider: str) -> Path:
    """The interpreter of the environment that our own provider runs in."""
    (python,) = (home / "provider_envs" / provider).glob("*/bin/python")
    return python


@contextmanager
def running_us(home: Path, upstream: str) -> Iterator[Module]:
    with running_module(home) as (url, pid, _):
        yield Module(url, pid, upstream)
