"""Stands in for the library of this name: keeps passwords in the file that FAKE_KEYRING names."""

from __future__ import annotations

import json
import os
from pathlib import Path


def _read() -> dict[str, str]:
    file = Path(os.environ["FAKE_KEYRING"])
    return json.loads(file.read_text("utf-8")) if file.exists() else {}


def _write(entries: dict[str, str]) -> None:
    Path(os.environ["FAKE_KEYRING"]).write_text(json.dumps(entries), "utf-8")


def get_password(service: str, username: str) -> str | None:
    return _read().get(f"{service} {username}")


def set_password(service: str, username: str, password: str) -> None:
    _write({**_read(), f"{service} {username}": password})


def delete_password(service: str, username: str) -> None:
    entries = _read()
    del entries[f"{service} {username}"]
    _write(entries)
