"""Assistants that are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from waifu_llm.errors import InvalidMessage
from waifu_llm.jobs.shelf import Shelf

GUIDE = {"streams": [{"provider": "echo", "messages": [{"role": "user", "content": "{query}"}]}]}
WRITTEN = json.dumps(GUIDE).encode()


def with_settings(settings: Any) -> bytes:
    return json.dumps({"streams": [{**GUIDE["streams"][0], "settings": settings}]}).encode()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "assistants")


def test_what_is_put_there_is_found(shelf: Shelf) -> None:
    assert shelf.names() == []
    shelf.put("guide", b"\xef\xbb\xbf" + WRITTEN)
    shelf.put("Actor-2", WRITTEN)
    assert shelf.names() == ["Actor-2", "guide"]
    assert shelf.template("guide") == GUIDE
    assert [file.name for file in shelf.folder.iterdir() if file.suffix != ".json"] == []


def test_what_changes_there_holds_from_then_on(shelf: Shelf) -> None:
    shelf.put("guide", WRITTEN)
    other = {"streams": [{**GUIDE["streams"][0], "provider": "other"}]}
    (shelf.folder / "guide.json").write_text(json.dumps(other), "utf-8")
    assert shelf.template("guide") == other
    assert shelf.remove("guide")
    assert not shelf.remove("guide")
    with pytest.raises(InvalidMessage, match=r"no assistant `guide`\. Kept: none yet\."):
        shelf.template("guide")


@pytest.mark.parametrize(
    "name", ["", "../token", "a/b", "a.b", ".hidden", "a b", "かな", "CON", "lpt1", "a" * 65, "a\0"]
)
def test_a_name_is_never_a_way_elsewhere(shelf: Shelf, name: str) -> None:
    with pytest.raises(InvalidMessage, match="no name"):
        shelf.put(name, WRITTEN)
    with pytest.raises(InvalidMessage, match="no assistant"):
        shelf.template(name)
    assert not shelf.remove(name)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON|nested|Expected"),
        (b"{}", "streams"),
        (b" " * (8 * 1024 * 1024 + 1), "bytes"),
        (WRITTEN.replace(b"user", b"boss"), "role"),
        (with_settings({"api_key": "sk-canary"}), "`api_key` of its settings"),
        (with_settings({"base_url": "https://me:canary@host"}), "`base_url` of its settings"),
        (with_settings({"base_url": "https://host/?key=canary"}), "`base_url` of its settings"),
        (with_settings({"extra": {"headers": {"x": "canary"}}}), "`extra.headers` of its settings"),
    ],
)
def test_what_cannot_be_used_is_neither_kept_nor_used(
    shelf: Shelf, written: bytes, told: str
) -> None:
    with pytest.raises(InvalidMessage, match=told) as refused:
        shelf.put("guide", written)
    assert "canary" not in refused.value.message
    shelf.folder.mkdir(exist_ok=True)
    (shelf.folder / "guide.json").write_bytes(written)
    with pytest.raises(InvalidMessage, match=f"`guide` cannot be used.*({told})"):
        shelf.template("guide")
    assert shelf.names() == ["guide"]
