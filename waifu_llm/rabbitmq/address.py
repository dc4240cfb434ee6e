"""Where a RabbitMQ is, and who we are there: from a URL, and from variables for what it leaves out.

    amqp://USER:PASSWORD@HOST:PORT/VHOST     amqps:// for TLS
    env                                      everything from the variables

The variables are RABBITMQ_HOST, RABBITMQ_PORT, RABBITMQ_USER, RABBITMQ_PASSWORD and RABBITMQ_VHOST;
what is in neither is as RabbitMQ itself comes: guest, on this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from msgspec import Struct

from waifu_llm.config import ConfigError

FROM_VARIABLES = "env"
_PORTS = {"amqp": 5672, "amqps": 5671}


class Address(Struct, frozen=True):
    """Everything that a connection needs. Its `str` is fit to be shown."""

    host: str
    port: int
    user: str
    password: str
    vhost: str = "/"
    tls: bool = False
    options: Mapping[str, str] = {}
    """What stands behind the `?` of the URL, such as `cafile`."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __repr__(self) -> str:
        return f"Address({self})"

    @property
    def secrets(self) -> list[str]:
        """The password, also as a URL has it."""
        return list({self.password, quote(self.password, safe="")})


def read_address(url: str, environ: Mapping[str, str]) -> Address:
    """
    Raises:
        ConfigError: When this is no address.
    """
    parts = _split("amqp://" if url == FROM_VARIABLES else url)

    def told(part: str | None, variable: str, otherwise: str) -> str:
        return unquote(part or "") or environ.get(variable) or otherwise

    return Address(
        host=told(parts.hostname, "RABBITMQ_HOST", "localhost"),
        port=_port(parts, environ),
        user=told(parts.username, "RABBITMQ_USER", "guest"),
        password=told(parts.password, "RABBITMQ_PASSWORD", "guest"),
        vhost=told(parts.path[1:], "RABBITMQ_VHOST", "/"),
        tls=parts.scheme == "amqps",
        options=dict(parse_qsl(parts.query)),
    )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _PORTS and parts.port != 0
    except ValueError:  # a port that is none, a bracket that is not closed
        usable = False
    if not usable:
        raise ConfigError(
            "A RabbitMQ's address is amqp://USER:PASSWORD@HOST:PORT/VHOST, amqps://… or "
            f"`{FROM_VARIABLES}`. Signs such as / or @ in a password are written as %2F or %40."
        )
    return parts


def _port(parts: SplitResult, environ: Mapping[str, str]) -> int:
    told = environ.get("RABBITMQ_PORT")
    if parts.port or not told:
        return parts.port or _PORTS[parts.scheme]
    if not told.isdecimal() or not 0 < int(told) < 65_536:
        raise ConfigError("RABBITMQ_PORT should be a number from 1 to 65535.")
    return int(told)
