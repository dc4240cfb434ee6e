"""What lies beside a model's file, hidden.

models/.tiny.gguf.part    what has come of it so far
models/.tiny.gguf.json    where it came from, and which version of it the part is of
models/.tiny.gguf.lock    held while it is fetched or deleted, and gone after that
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from waifu_llm.errors import Busy


class Beside:
    """The files beside one."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.part = file.with_name(f".{file.name}.part")
        self.record = file.with_name(f".{file.name}.json")
        self.lock = file.with_name(f".{file.name}.lock")

    @property
    def files(self) -> list[Path]:
        """Those that outlive a download, where they are there at all."""
        return [self.part, self.record]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Among all programs.

        Raises:
            Busy: While another one fetches or deletes it.
        """
        from filelock import FileLock, Timeout  # only where something is changed: it takes time

        try:
            with FileLock(self.lock, blocking=False):
                try:
                    yield
                finally:
                    with suppress(OSError):  # Windows removes none that is open: FileLock does
                        self.lock.unlink()
        except Timeout:
            text = f"Another program is fetching {self._file.name} already."
            raise Busy(f"{text} Wait for its end, or stop it.") from None

    def remember(self, **values: Any) -> None:
        self.record.write_text(json.dumps(values), "utf-8")

    def remembered(self) -> dict[str, Any]:
        """Nothing, where nothing that can be read is there."""
        try:
            values = json.loads(self.record.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    def came(self) -> int:
        """How many bytes there are of the part."""
        return self.part.stat().st_size if self.part.exists() else 0

    def clear(self) -> None:
        for file in self.files:
            file.unlink(missing_ok=True)
