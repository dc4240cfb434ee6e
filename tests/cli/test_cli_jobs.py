"""`waifu-llm jobs`: through a running module."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import Module

STREAM = {
    "provider": "echo",
    "settings": {"model": "echo"},
    "messages": [{"insert": "history"}, {"role": "user", "content": "{query}"}],
}


@pytest.fixture
def jobs(waifu_llm: Callable[..., Any], module: Module) -> Callable[..., Any]:
    return lambda *arguments: waifu_llm("jobs", *arguments, "--url", module.url)


@pytest.fixture
def guide(tmp_path: Path) -> Callable[..., str]:
    """Writes an assistant into a file."""

    def write(**settings: Any) -> str:
        stream = {**STREAM, "settings": {**STREAM["settings"], **settings}}  # type: ignore[dict-item]
        file = tmp_path / "guide.json"
        file.write_text(json.dumps({"streams": [stream]}), "utf-8")
        return str(file)

    return write


def test_a_job_is_added_and_what_it_says_printed(jobs, guide, tmp_path: Path) -> None:
    history = tmp_path / "talk.json"
    history.write_text('[{"role":"user","content":"Before"}]', "utf-8")
    ended = jobs("add", guide(), "How tall かな?", "--history", str(history), "--priority", "5")
    assert (ended.returncode, ended.stdout) == (0, "How tall かな?\n")


def test_one_that_is_not_waited_for_can_be_heard_later(jobs, guide) -> None:
    job_id = jobs("add", guide(), "later", "--no-wait").stdout.strip()
    ended = jobs("listen", job_id)
    assert (ended.returncode, ended.stdout) == (0, "later\n")


def test_one_is_cancelled_by_who_has_the_token_at_hand(jobs, guide) -> None:
    job_id = jobs("add", guide(first_delay_ms=3_600_000), "never", "--no-wait").stdout.strip()
    assert jobs("cancel", job_id).stdout == "The job is cancelled.\n"
    listened = jobs("listen", job_id)
    assert listened.returncode == 1
    assert "Cancelled." in listened.stderr
    again = jobs("cancel", job_id)
    assert again.returncode == 1
    assert "waits or runs" in again.stderr


def test_what_fails_is_said(jobs, guide, tmp_path: Path) -> None:
    assert "no assistant `nobody`" in jobs("add", "nobody", "Q").stderr
    assert "Cannot read" in jobs("add", str(tmp_path / "none.json"), "Q").stderr
    assert "There is no model" in jobs("add", guide(model="none"), "Q").stderr
    (tmp_path / "broken.json").write_text("{", "utf-8")
    assert "not JSON" in jobs("add", str(tmp_path / "broken.json"), "Q").stderr
