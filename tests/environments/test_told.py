"""What is made of an installer's lines."""

from __future__ import annotations

import pytest

from waifu_llm.environments import told
from waifu_llm.environments.told import Told

UV = [
    "DEBUG Adding direct dependency: aiohttp>=3.14.5, <3.14.5+",
    "DEBUG Sending fresh GET request for: https://index.example/simple/aiohttp/",
    "DEBUG Sending fresh GET request for: https://i.example/de/0c/typing_inspection-0.4.5-py3-none-any.whl",
    "DEBUG Sending fresh GET request for: https://i.example/16/fd/uvloop-0.23.0-cp311-cp311-manylinux_x86_64.whl",
    "   Building llama-cpp-python==0.3.16",
    "Prepared 24 packages in 310ms",
    "Installed 24 packages in 20ms",
]
PIP = [
    "Collecting aiohttp==3.14.5 (from -r requirements.lock (line 4))",
    "  Downloading aiohttp-3.14.5-cp311-cp311-manylinux_x86_64.whl.metadata (8.1 kB)",
    "  Downloading aiohttp-3.14.5-cp311-cp311-manylinux_x86_64.whl (1.7 MB)",
    "  Using cached attrs-26.1.0-py3-none-any.whl (64 kB)",
    "  Building wheel for llama-cpp-python (pyproject.toml): started",
    "Installing collected packages: attrs, aiohttp",
]


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(told, "time", clock)
    return clock


def follow(lines: list[str], total: int = 4, under_way: int = 0) -> list[tuple[str, float, str]]:
    heard: list[tuple[str, float, str]] = []
    reader = Told("Tried", total, lambda *event: heard.append(event), lambda: under_way)
    for line in lines:
        reader.watch([line])
    return heard


def test_uv_is_understood(clock):
    assert follow(UV, under_way=4_200_000) == [
        ("download", 0.388, "Fetching typing-inspection (1 of 4 packages, 4.2 MB under way)."),
        ("download", 0.525, "Fetching uvloop (2 of 4 packages, 4.2 MB under way)."),
        ("build", 0.525, "Building llama-cpp-python."),
        ("install", 0.8, "Putting the packages of Tried in place."),
    ]


def test_pip_is_understood(clock):
    assert follow(PIP) == [
        ("download", 0.388, "Fetching aiohttp (1 of 4 packages)."),
        ("download", 0.525, "Fetching attrs (2 of 4 packages)."),
        ("build", 0.525, "Building llama-cpp-python."),
        ("install", 0.8, "Putting the packages of Tried in place."),
    ]


def test_one_that_is_silent_is_seen_to_live(clock):
    heard: list[str] = []
    reader = Told("Tried", 1, lambda *event: heard.append(event[2]), lambda: 0)
    reader.watch(["   Building llama-cpp-python==0.3.16"])
    for _ in range(6):
        clock.now += told.REPEAT_SECONDS / 2
        reader.watch([])
    name = "Building llama-cpp-python"
    assert heard == [f"{name}.", f"{name} (1 s).", f"{name} (2 s).", f"{name} (3 s)."]


def test_more_than_was_expected_is_no_more_than_all(clock):
    assert [fraction for _, fraction, _ in follow(PIP[:4], total=1)] == [0.8, 0.8]


def test_what_lies_half_fetched_is_counted(tmp_path):
    (tmp_path / ".tmp1" / "deep").mkdir(parents=True)
    (tmp_path / ".tmp1" / "deep" / "part").write_bytes(b"12345")
    assert told.bytes_below([tmp_path / ".tmp1", tmp_path / "nowhere"]) == 5
