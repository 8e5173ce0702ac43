"""Which network addresses a target may not be at, unless the operator allows private URLs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from errno import EACCES
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Our own list, because `ipaddress` of Python 3.11 calls NAT64, 6to4, site-local and multicast addresses global.
# From IANA's special-purpose registries for IPv4 and IPv6.
_FORBIDDEN = {
    "this-network": ("0.0.0.0/8",),
    "loopback": ("127.0.0.0/8", "::1/128"),
    "unspecified": ("::/128",),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
    "shared": ("100.64.0.0/10",),
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    "metadata": ("168.63.129.16/32",),  # Azure serves its metadata on a public address
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "NAT64": ("64:ff9b::/96", "64:ff9b:1::/48"),
    "6to4": ("2002::/16", "192.88.99.0/24"),
    "documentation": ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
    "reserved": ("192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4", "2001::/23"),
}
_NETWORKS: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), kind) for kind, networks in _FORBIDDEN.items() for network in networks
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")


def forbidden_kind(address: Address) -> str | None:
    """Name the kind of a non-public address; None for one that everybody can reach."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    for network, kind in _NETWORKS:
        if address in network:
            return kind
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return "reserved"
    return None if address.is_global else "reserved"


def literal_address(host: str) -> Address | None:
    """Read a host that is an address and not a name."""
    try:
        return ip_address(host.rstrip(".").partition("%")[0])
    except ValueError:
        return None


@dataclass(slots=True)
class Verdict:
    """What the guard decided about the addresses of one request."""

    refused: str | None = None
    allowed: bool = False

    @property
    def blocked(self) -> str | None:
        """Name the kind of address, when nothing but forbidden ones were found."""
        return None if self.allowed else self.refused


# The exception of a socket factory loses its type among several addresses; the verdict travels beside it.
_verdict: ContextVar[Verdict] = ContextVar("verdict")


@contextmanager
def verdict() -> Iterator[Verdict]:
    """Collect what the guard decides in this task and in the tasks it starts."""
    verdict = Verdict()
    token = _verdict.set(verdict)
    try:
        yield verdict
    finally:
        _verdict.reset(token)


def open_public_socket(info: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
    """Make the socket for one connect; OSError when its address, as resolved, is not public.

    Called with the very address that is then connected to, so a name that resolves differently the second
    time gains nothing.
    """
    family, kind, protocol, _, where = info
    address = literal_address(str(where[0]))
    forbidden = "unknown" if address is None else forbidden_kind(address)
    verdict = _verdict.get(None) or Verdict()
    if forbidden is not None:
        verdict.refused = forbidden
        raise OSError(EACCES, f"{forbidden} address refused")
    verdict.allowed = True
    return socket.socket(family, kind, protocol)
