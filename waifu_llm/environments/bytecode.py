"""Shares compiled bytecode between environments, as their packages are shared: by hard links.

The same source makes the same bytecode wherever it lies. The path in it is mended by Python when
it is read, and it says for which size and time of its source it was made.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path


def share(folder: Path, store: Path) -> None:
    """Where links cannot be had, it stays as it is."""
    with suppress(OSError):
        store.mkdir(parents=True, exist_ok=True)
        for compiled in folder.rglob("__pycache__/*.pyc"):
            _share_one(compiled, store)


def forget_unused(store: Path) -> None:
    """What no environment has any more."""
    with suppress(OSError):
        for shared in store.iterdir():
            if shared.stat().st_nlink == 1:
                shared.unlink()


def _share_one(compiled: Path, store: Path) -> None:
    name, _, tag = compiled.name.partition(".")
    source = compiled.parent.parent / f"{name}.py"
    if not source.is_file():
        return
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:32]
    shared = store / f"{digest}-{int(source.stat().st_mtime)}.{tag}"
    try:
        os.link(compiled, shared)
    except FileExistsError:
        _replace(compiled, shared)


def _replace(compiled: Path, shared: Path) -> None:
    """At once: somebody may be reading it."""
    draft = compiled.with_name(f"{compiled.name}.{secrets.token_hex(4)}")
    os.link(shared, draft)
    os.replace(draft, compiled)
