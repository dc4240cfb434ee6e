"""Where a call may go: read from a URL, and judged by address. No I/O.

A name proves nothing, and neither does how an address is spelled. So a URL has one reading here,
the one that is connected to, and what is judged are the addresses themselves: the open internet,
and beyond that only what somebody allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from msgspec import Struct

from waifu_llm.errors import InvalidMessage
from waifu_llm.helpers.faults import NotReached

Network = IPv4Network | IPv6Network

MOST_URL = 2048
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]{1,253})"
    r"(?::(?P<port>\d{1,5}))?"
    r"(?P<target>/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?"
)
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMBER = re.compile(r"\d+|0[xX][0-9A-Fa-f]*")
_PORTS = {"http": 80, "https": 443}


class Reach(Struct, frozen=True):
    """What one helper may be reached at, beside the open internet."""

    loopback: bool = False
    networks: tuple[Network, ...] = ()


class Url(Struct, frozen=True):
    """One that was read. What has a secret in it stands after the host, and is not shown."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """As the header `Host` has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        return f"{self.scheme}://{self.authority}"

    @property
    def address(self) -> str | None:
        """Where it leads, if no name has to be looked up."""
        try:
            return str(ip_address(self.host))
        except ValueError:
            return None

    def at(self, target: str) -> Url:
        return Url(self.scheme, self.host, self.port, target)


def read_url(text: str) -> Url:
    """
    Raises:
        InvalidMessage: When it can be read in another way, or in none.
    """
    match = _URL.fullmatch(text) if len(text) <= MOST_URL else None
    if match is None:
        raise InvalidMessage(
            "A helper's `url` is http://HOST:PORT/PATH or https://…, in plain ASCII and without a "
            "name, a password or a fragment."
        )
    scheme, host = match["scheme"], match["host"].lower()
    port = int(match["port"] or _PORTS[scheme])
    if not 0 < port < 65_536:
        raise InvalidMessage(f"A helper's `url` has the port {port}, which there is not.")
    return Url(scheme, _read_host(host), port, match["target"] or "/")


def _read_host(host: str) -> str:
    """An address as everybody spells it, or a name that nobody takes for an address."""
    labels = host.split(".")
    try:
        if host.startswith("["):
            return str(IPv6Address(host[1:-1]))
        if _NUMBER.fullmatch(labels[-1]):  # all parsers take it for an address, of many forms
            return str(IPv4Address(host))
    except ValueError:
        raise InvalidMessage(
            f"`{host}` is no address as they are written: four numbers, or IPv6 in brackets."
        ) from None
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidMessage(f"`{host}` is no name of a host.")
    return host


_CLOSED = [
    ip_network(each)
    for each in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "::/8",  # unspecified, loopback, and all that has an IPv4 address inside: mapped, NAT64
        *("100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16"),
        *("fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
]
"""What is not the open internet, or may be a way around this list."""
_NEVER = [
    ip_address(each)
    for each in (
        *("169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200"),
        *("168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
        *("fd00:c1::a9fe:a9fe", "fd00:42::42"),
    )
]
"""Where clouds tell each machine its secrets. No network that is allowed has them."""


def see_that_all_are_allowed(addresses: Iterable[str], reach: Reach, url: Url) -> None:
    """One that is not spoils the others: who answers with both means the one.

    Raises:
        NotReached: With what to do.
    """
    for text in addresses:
        if not _is_allowed(text, reach):
            raise NotReached(
                f"{url.shown} leads to {text}, which is not on the open internet. The setting "
                "`helper_networks` allows a network; a table of the configuration, or a helper "
                "that registers from this machine, may name this machine."
            )


def _is_allowed(text: str, reach: Reach) -> bool:
    try:
        address = ip_address(text.partition("%")[0])  # a zone makes it no other address
    except ValueError:
        return False
    if address in _NEVER or getattr(address, "ipv4_mapped", None) in _NEVER:
        return False
    if any(address in network for network in reach.networks):
        return True
    if _is_loopback(address):
        return reach.loopback
    return address.is_global and not any(address in network for network in _CLOSED)


def _is_loopback(address: IPv4Address | IPv6Address) -> bool:
    """Such as this machine has; an IPv4 address inside an IPv6 one is none."""
    return address.is_loopback and getattr(address, "ipv4_mapped", None) is None
