"""PostgreSQL."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from services.installing import program
from services.server import Server

_FOLDERS = ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin")


class Postgres(Server):
    """It trusts whoever comes from this machine."""

    stop_signal = signal.SIGINT  # "fast": it does not wait for those who are connected
    flushes = False
    """Whether what it writes outlives the machine too. With many databases that takes minutes."""
    user = "postgres"

    def prepare(self) -> None:
        self._programs = Path(program("initdb", "postgresql", *_FOLDERS)).parent
        if self.as_user():
            shutil.chown(self.folder, self.user, self.user)
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", "waifu", "-E", "UTF8")

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def command(self) -> Sequence[str]:
        return [
            str(self._programs / "postgres"),
            *("-D", str(self._data), "-p", str(self.port)),
            *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
            *("-c", f"fsync={'on' if self.flushes else 'off'}"),
        ]

    def answers(self) -> bool:
        asked = ["pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run([self._programs / asked[0], *asked[1:]], check=False).returncode == 0

    def database(self, name: str) -> str:
        """Make an empty one. Returns its URL."""
        address = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "waifu")
        self._run("createdb", *address, name)
        return f"postgresql://waifu@127.0.0.1:{self.port}/{name}"

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / name, *arguments],
            cwd=self.folder,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            check=True,
            capture_output=True,
            **self.as_user(),
        )
