"""RabbitMQ."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence

from services.installing import program
from services.server import Server, free_port

_FOLDERS = ("/usr/lib/rabbitmq/bin", "/opt/homebrew/opt/rabbitmq/sbin")
LARGEST = 16 * 1024 * 1024
_HEADER = b"AMQP\0\0\x09\x01"


class RabbitMQ(Server):
    """With the user `guest`. Erlang's daemon of names is its own too, and ends with it."""

    def prepare(self) -> None:
        # Debian's own starters, in /usr/sbin, insist on folders of the whole machine.
        self._program = program("rabbitmq-server", "rabbitmq-server", *_FOLDERS)
        self._names = program("epmd", "erlang-base")
        self._names_port, self._peers_port = free_port(), free_port()
        self._daemon: subprocess.Popen[bytes] | None = None
        # As version 4 has it by itself; those before take more.
        (self.folder / "rabbitmq.conf").write_text(f"max_message_size = {LARGEST}\n")

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def command(self) -> Sequence[str]:
        return [self._program]

    def environ(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder),
            "HOSTNAME": "localhost",
            "RABBITMQ_NODENAME": f"waifu{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._peers_port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._names_port),
        }

    def start(self) -> None:
        if self._daemon is None:
            address = ["-address", "127.0.0.1", "-port", str(self._names_port)]
            self._daemon = subprocess.Popen([self._names, *address])
        super().start()

    def answers(self) -> bool:
        """It takes connections a while before it takes anything else."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1.0) as probe:
                probe.sendall(_HEADER)
                return bool(probe.recv(1))
        except OSError:
            return False

    def close(self) -> None:
        super().close()
        if self._daemon:
            self._daemon.kill()
            self._daemon.wait()
