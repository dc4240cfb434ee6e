"""A server's life: started, stopped, killed, started again with what it had."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_LOOK_SECONDS = 0.05
_PORTS = (16_384, 32_768)


class Server:
    """One process group. What it keeps lies in its folder, and outlives the process."""

    stop_signal = signal.SIGTERM
    user: str | None = None
    """Who it is to run as, where that cannot be root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.prepare()
        self.start()

    def prepare(self) -> None:
        """Once, before the first start."""

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def environ(self) -> dict[str, str]:
        return {}

    def answers(self) -> bool:
        """Whether it can be used."""
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env={**os.environ, **self.environ()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self.as_user(),
            )
        self._wait_until_it_answers()

    def as_user(self) -> dict[str, str]:
        return {"user": self.user, "group": self.user} if self.user and os.geteuid() == 0 else {}

    def stop(self) -> None:
        self._end(self.stop_signal)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """For good."""
        self.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):  # it ended by itself, and says why in its log
            os.killpg(process.pid, how)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _wait_until_it_answers(self) -> None:
        assert self._process
        until = time.monotonic() + _START_SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                log = (self.folder / "log").read_text("utf-8", "replace")
                raise RuntimeError(f"{type(self).__name__} does not start:\n{log[-4000:]}")
            time.sleep(_LOOK_SECONDS)


def free_port() -> int:
    """None of those that systems give to connections: while a server is stopped, one that tries to
    reach it could be given its port, and would keep it from starting again."""
    while True:
        port = random.randrange(*_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
