"""Which hosts the http targets of a namespace may call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from backend.errors import FieldError

MOST_HOSTS = 500
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NAME = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_FIX = 'give names such as "api.example.org", "*.example.org", or networks such as "10.1.0.0/16"'


@dataclass(frozen=True, slots=True)
class Egress:
    """What may be called. `restricted`: only that; else every public host, and the networks beside."""

    restricted: bool = False
    names: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    """Each with its dot in front, such as `.example.org`."""
    networks: tuple[Network, ...] = ()

    def names_host(self, host: str) -> bool:
        """Say whether a host is allowed by its name."""
        name = plain(host)
        return name in self.names or name.endswith(self.suffixes)

    def holds(self, address: Address) -> bool:
        """Say whether an address is in one of the networks."""
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self.networks)


ANYWHERE = Egress()


def plain(host: str) -> str:
    """Write a host as it is compared: in small letters, without brackets or the root's dot."""
    return host.lower().strip("[]").removesuffix(".")


def read_egress(entries: Sequence[str] | None) -> Egress:
    """Read an allow-list: None allows every public host. FieldError names the first entry that is none."""
    if entries is None:
        return ANYWHERE
    networks = [network for entry in entries if (network := network_of(entry)) is not None]
    names = [plain(entry) for entry in entries if network_of(entry) is None]
    for name in names:
        if len(name) > 253 or not _NAME.fullmatch(name):
            raise FieldError(f"{name[:80]!r} is neither a name nor a network", _FIX)
    suffixes = tuple(name[1:] for name in names if name.startswith("*."))
    return Egress(
        restricted=True,
        names=frozenset(n for n in names if not n.startswith("*.")),
        suffixes=suffixes,
        networks=tuple(networks),
    )


def network_of(entry: str) -> Network | None:
    """Read an entry that is an address or a network; None for a name. FieldError for host bits that are set.

    >>> network_of("10.1.0.0/16"), network_of("10.1.2.3"), network_of("example.org")
    (IPv4Network('10.1.0.0/16'), IPv4Network('10.1.2.3/32'), None)
    """
    text = entry.strip("[]")
    try:
        return ip_network(text) if "/" in text else ip_network(ip_address(text))
    except ValueError as error:
        if "/" in text:
            raise FieldError(f"{entry[:80]!r} is not a network ({error})", _FIX) from None
        return None
