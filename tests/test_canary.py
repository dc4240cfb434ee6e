"""Keys that go through the module turn up nowhere but at the vendor."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_upstreams.running import RunningUpstream, running_upstream
from support import Module, Wire, generate

from waifu_llm.keys import KeyStore

CLIENT_KEY = "sk-canary-of-the-client-8c1f"
WRONG_KEY = "wrong-canary-of-a-typo-55d0"
OPERATOR_KEY = "sk-canary-of-the-operator-e7a2"
FILE_KEY = "sk-canary-of-the-file-19bb"
RING_KEY = "sk-canary-of-the-keyring-6d3c"
KEYS = [CLIENT_KEY, WRONG_KEY, OPERATOR_KEY, FILE_KEY, RING_KEY]
KEYED_HOME = "https://keyed.example"

if not Path("/proc").is_dir():
    pytest.skip("looks into processes by /proc", allow_module_level=True)


@pytest.fixture(scope="module")
def upstream() -> Iterator[RunningUpstream]:
    with running_upstream() as upstream:
        yield upstream


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [each for child in children for each in (int(child), *descendants(int(child)))]


def told_of(pid: int) -> str:
    """What anybody may see of a process."""
    return Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace")


def written_below(folder: Path) -> Iterator[str]:
    """All that is kept, but for the libraries of environments, and the file that is for keys."""
    for file in folder.rglob("*"):
        if file.name == "keys.json":
            assert file.stat().st_mode & 0o777 == 0o600
        elif file.is_file() and "site-packages" not in file.parts and not file.is_symlink():
            yield file.read_text("utf-8", "replace")


async def ask(wire: Wire, stream: bool, **fake: Any) -> list[dict[str, Any]]:
    params = {"extra": {"fake": fake}}
    await wire.send(generate(model="gpt-test", stream=stream, provider="openai", params=params))
    return await wire.until("generate_done", "generate_stream_done")


@pytest.fixture
def stored_keys(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """Two, by their names: one in the file, and one in what stands in for the system's keyring."""
    monkeypatch.setenv("FAKE_KEYRING", str(tmp_path / "keyring.json"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "fake_keyring"))
    monkeypatch.syspath_prepend(os.environ["PYTHONPATH"])
    keys = {"in-file": FILE_KEY, "in-keyring": RING_KEY}
    for name, key in keys.items():
        store = KeyStore(home / "keys.json", keyring=name == "in-keyring")
        store.set("keyed", name, KEYED_HOME, key)
    assert RING_KEY not in (home / "keys.json").read_text("utf-8")
    yield keys
    (home / "keys.json").unlink()


async def test_a_key_is_seen_by_the_vendor_and_by_nobody_else(
    home: Path, openai_installed: None, dial: Callable[..., Any], upstream: RunningUpstream,
    stored_keys: dict[str, str],
) -> None:  # fmt: skip
    flags = ("--log-level", "debug", "--keyring")
    module = Module.start(home, flags, {"KEYED_API_KEY": OPERATOR_KEY})
    heard: list[Any] = []
    processes: list[str] = []
    try:
        async with dial(module.url) as wire:
            address = {"base_url": upstream.base_url}
            for key in (WRONG_KEY, CLIENT_KEY):
                heard.append(await wire.load("openai", api_key=key, **address))
            for stream in (True, False):
                for end in ("done", "cut", "error", "nonsense"):
                    heard += await ask(wire, stream, end=end)
                heard += await ask(wire, stream, status=401, error={"message": CLIENT_KEY})
                heard += await ask(wire, stream, status=500, error={"message": CLIENT_KEY})
            heard.append(await wire.load("keyed"))  # with the operator's
            heard.append(await wire.final(generate(model="slow", provider="keyed")))
            for name, key in stored_keys.items():
                heard.append(await wire.load("keyed", key=name))
                told = await wire.final(generate(model="whoami", provider="keyed"))
                assert told["response"] == f"{key[-4:]} at {KEYED_HOME}/v1"
                heard.append(await wire.final(generate(model="slow", provider="keyed")))
                assert "leaking ***" in heard[-1]["message"]
            status = await wire.ask({"type": "status"})
            heard.append(status)
            for pid in descendants(module.process.pid):
                processes.append(told_of(pid))
                environment = Path(f"/proc/{pid}/environ").read_text("utf-8", "replace")
                processes.append(environment)
            for pid in [load["pid"] for load in status["loads"] if "pid" in load]:
                os.kill(pid, signal.SIGKILL)
            heard += await ask(wire, True)
            await wire.send({"type": "close"})
        module.wait()
    finally:
        module.kill()
    assert CLIENT_KEY in {entry["key"] for entry in upstream.log()}
    assert "leaking ***" in json.dumps(heard)
    everything = [json.dumps(heard), *processes, told_of(os.getpid()), *module.errors]
    for text in [*everything, *written_below(home)]:
        for key in KEYS:
            assert key not in text
