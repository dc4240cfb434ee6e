"""Who may come in: one `authorize` for all doors.

Without the token comes in only who opens a WebSocket from this very machine, and is no browser:
no Origin, no Sec-Fetch-*, no sign of a proxy. Everyone else brings the token, in `Authorization`
or, where a browser cannot set that, in `hello`. Before all that, the Host must be one of ours (a
page that rebinds its DNS name to 127.0.0.1 gives itself away there), and an Origin must be
ours or configured.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum

from msgspec import Struct

from waifu_llm.config import Config, ConfigError

_FORWARDING = re.compile(r"forwarded|via|x-(original-)?forwarded.*|.*-ip")
_FAILURES, _FAILURE_SECONDS = 5, 60.0
_PEERS_REMEMBERED = 1024


class Refused(Exception):
    """Turned away at the door, with an HTTP status and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Verdict(Enum):
    """What a visitor may do."""

    HAS_TOKEN = "has the token"
    LET_IN = "let in"
    NEEDS_TOKEN = "needs the token"


class Trust(Struct):
    """What one client may do."""

    has_token: bool
    is_token: Callable[[str], bool]
    may_close: bool


class Visitor(Struct, frozen=True):
    """Somebody at a door. Header names are in lower case."""

    peer: str
    headers: dict[str, list[str]]
    websocket: bool = True

    def header(self, name: str) -> str | None:
        values = self.headers.get(name)
        return values[0] if values else None

    @property
    def is_local(self) -> bool:
        return _is_loopback(self.peer)

    @property
    def is_browser(self) -> bool:
        return "origin" in self.headers or any(n.startswith("sec-fetch-") for n in self.headers)

    @property
    def is_forwarded(self) -> bool:
        return any(_FORWARDING.fullmatch(name) for name in self.headers)


class Gate:
    """Knows the token, our own names, and who guessed wrong of late."""

    def __init__(self, config: Config, token: str, port: int) -> None:
        self._config = config
        self._token = token
        self._hosts = set(_own_hosts(config, port))
        self._origins = {f"{_scheme(config)}://{host}" for host in self._hosts}
        self._origins.update(config.allowed_origins)
        self._failures: dict[str, deque[float]] = {}

    def authorize(self, visitor: Visitor) -> Verdict:
        """Let in, ask for the token, or turn away.

        Raises:
            Refused: When no token would help, or a wrong one was brought.
        """
        self._check_host(visitor)
        self._check_origin(visitor)
        if authorization := visitor.header("authorization"):
            if not self.is_token(_bearer(authorization), visitor.peer):
                raise Refused(401, "This is not the token. It stands in the module's token file.")
            return Verdict.HAS_TOKEN
        return Verdict.LET_IN if self._trusts(visitor) else Verdict.NEEDS_TOKEN

    def is_token(self, candidate: str, peer: str) -> bool:
        right = hmac.compare_digest(candidate.encode(), self._token.encode())
        if not right:
            self._failed(peer)
        return right

    def penalty(self, peer: str) -> float:
        """Seconds that this peer waits before its next try is looked at."""
        recent = self._failures.get(peer, ())
        since = time.monotonic() - _FAILURE_SECONDS
        return 1.0 if sum(1 for when in recent if when > since) >= _FAILURES else 0.0

    def may_close(self, visitor: Visitor) -> bool:
        """`close` is for everyone on this machine; others need it configured."""
        native = not visitor.is_browser and not visitor.is_forwarded
        near = visitor.is_local and native and not self._config.behind_proxy
        return self._config.allow_remote_close or near

    def _trusts(self, visitor: Visitor) -> bool:
        if self._config.require_token or self._config.behind_proxy:
            return False
        native = not visitor.is_browser and not visitor.is_forwarded
        return visitor.websocket and visitor.is_local and native

    def _check_host(self, visitor: Visitor) -> None:
        hosts = visitor.headers.get("host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            shown = ", ".join(hosts) or "none"
            raise Refused(
                421, f"The Host {shown!r} is not this module. See the setting `allowed_hosts`."
            )

    def _check_origin(self, visitor: Visitor) -> None:
        origins = visitor.headers.get("origin", [])
        if origins and (len(origins) > 1 or origins[0] not in self._origins):
            raise Refused(
                403,
                f"The Origin {', '.join(origins)!r} may not connect. See `allowed_origins`.",
            )

    def _failed(self, peer: str) -> None:
        if len(self._failures) >= _PEERS_REMEMBERED:
            self._failures.pop(next(iter(self._failures)))
        self._failures.setdefault(peer, deque(maxlen=_FAILURES)).append(time.monotonic())


def _bearer(authorization: str) -> str:
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def _scheme(config: Config) -> str:
    return "https" if config.tls_cert or config.behind_proxy else "http"


def _own_hosts(config: Config, port: int) -> Iterable[str]:
    names = {"127.0.0.1", "localhost", "[::1]"}
    if config.host not in ("0.0.0.0", "::"):
        names.add(f"[{config.host}]" if ":" in config.host else config.host.lower())
    usual = 443 if config.tls_cert else 80
    for name in names:
        yield f"{name}:{port}"
        if port == usual:
            yield name
    yield from (name.lower() for name in config.allowed_hosts)


def _is_loopback(peer: str) -> bool:
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def is_loopback_name(host: str) -> bool:
    """Whether an address to listen at can be reached from this machine alone."""
    return host == "localhost" or _is_loopback(host)


def see_that_it_is_protected(config: Config) -> None:
    """Refuse what would open the module to the network unprotected.

    Raises:
        ConfigError: With what to set.
    """
    protected = config.tls_cert or config.behind_proxy
    if not is_loopback_name(config.host) and not protected:
        raise ConfigError(
            f"At {config.host} the module can be reached from outside: set `tls_cert` and "
            "`tls_key`, or `behind_proxy` where a proxy speaks TLS. Who comes from outside then "
            "needs the token."
        )
