"""`waifu-llm assistants`: what is kept for jobs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

STREAM = {"provider": "echo", "messages": [{"role": "user", "content": "{query} かな"}]}
GUIDE = {"streams": [STREAM, STREAM]}


@pytest.fixture
def assistants(waifu_llm: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    def run(*arguments: str, stdin: str = "") -> Any:
        home = {"WAIFU_LLM_HOME": str(tmp_path)}
        return waifu_llm("assistants", *arguments, stdin=stdin, **home)

    return run


def test_one_is_added_from_a_file_shown_listed_and_removed(assistants, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(GUIDE), "utf-8")
    added = assistants("add", "guide", str(file))
    folder = tmp_path / "assistants"
    assert added.stdout == f"The assistant `guide` is in {folder}.\n"
    assert json.loads(assistants("show", "guide").stdout) == GUIDE
    assert assistants("list").stdout.split() == ["guide", "echo"]
    told = json.loads(assistants("list", "--json").stdout)
    kept = [{"name": "guide", "providers": ["echo"], "error": None}]
    assert told == {"folder": str(folder), "assistants": kept}
    assert assistants("remove", "guide").returncode == 0
    assert assistants("remove", "guide").returncode == 1
    assert "There are none" in assistants("list").stdout


def test_one_is_added_from_stdin(assistants) -> None:
    assert assistants("add", "guide", stdin=json.dumps(GUIDE)).returncode == 0
    assert json.loads(assistants("show", "guide").stdout) == GUIDE


def test_what_cannot_be_used_is_not_kept(assistants) -> None:
    refused = assistants("add", "guide", stdin='{"streams":[{"provider":"echo"}]}')
    assert refused.returncode == 1
    assert "`assistant.streams[0]`" in refused.stderr
    assert assistants("show", "guide").returncode == 1
    assert "no name" in assistants("add", "../token", stdin=json.dumps(GUIDE)).stderr


def test_one_that_was_broken_by_hand_is_listed_with_what_is_wrong(assistants, tmp_path) -> None:
    assistants("add", "guide", stdin=json.dumps(GUIDE))
    (tmp_path / "assistants" / "guide.json").write_text("{", "utf-8")
    assert "not JSON" in assistants("list").stdout
