"""Redis."""

from __future__ import annotations

from collections.abc import Sequence

from services.installing import program
from services.server import Server


class Redis(Server):
    """It keeps each write, as far as a second allows."""

    def prepare(self) -> None:
        self._program = program("redis-server", "redis-server")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str]:
        return [
            self._program,
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
            *("--save", "", "--appendonly", "yes", "--appendfsync", "everysec"),
        ]
