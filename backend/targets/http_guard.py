"""Which network addresses a target may not be at, unless the operator allows private URLs."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from errno import EACCES
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from backend.model.egress import ANYWHERE, Address, Egress, Network

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
SYNTHESIZED = "NAT64"
"""A resolver for networks without IPv4 makes such an address for every name, beside the real ones."""
FOREIGN = "not among the hosts that this namespace may call"


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


@lru_cache(maxsize=1024)
def literal_address(host: str) -> Address | None:
    """Read a host that is an address and not a name."""
    try:
        return ip_address(host.rstrip(".").partition("%")[0])
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Policy:
    """Where one request may go."""

    allow_private: bool = False
    egress: Egress = ANYWHERE
    named: bool = False
    """The host is allowed by its name; only a name that is not needs an address in the networks."""

    def refusal(self, where: str) -> tuple[str, str] | None:
        """Say why an address is refused: its kind, and how that is told; None for one that may be called."""
        address = literal_address(where)
        if address is None:
            return "unknown", "at an unknown address"
        if self.egress.holds(address):
            return None
        if self.egress.restricted and not self.named:
            return "foreign", FOREIGN
        kind = None if self.allow_private else forbidden_kind(address)
        return None if kind is None else (kind, f"at a {kind} address")


@dataclass(slots=True)
class Verdict:
    """What the guard decided about the addresses of one request."""

    policy: Policy = field(default_factory=Policy)
    refused: str | None = None
    allowed: bool = False

    @property
    def blocked(self) -> str | None:
        """Say where the host is that may not be called, when nothing else was found."""
        return None if self.allowed else self.refused


class Blocked(OSError):
    """An address is refused; `where` completes "HOST is …"."""

    def __init__(self, where: str) -> None:
        super().__init__(EACCES, f"{where}, refused")
        self.where = where


# The exception of a socket factory loses its type among several addresses; the verdict travels beside it.
_verdict: ContextVar[Verdict] = ContextVar("verdict")


@contextmanager
def verdict(policy: Policy) -> Iterator[Verdict]:
    """Collect what the guard decides in this task and in the tasks it starts."""
    verdict = Verdict(policy)
    token = _verdict.set(verdict)
    try:
        yield verdict
    finally:
        _verdict.reset(token)


def open_permitted_socket(info: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
    """Make the socket for one connect; Blocked when its address, as resolved, may not be called.

    Called with the very address that is then connected to, so a name that resolves differently the second
    time gains nothing.
    """
    family, kind, protocol, _, where = info
    verdict = _verdict.get(None) or Verdict()
    refusal = verdict.policy.refusal(str(where[0]))
    if refusal is not None:
        verdict.refused = refusal[1]
        raise Blocked(refusal[1])
    verdict.allowed = True
    return socket.socket(family, kind, protocol)


class GuardedResolver(AbstractResolver):
    """Refuses a name as a whole when one of its addresses may not be called: nobody honest mixes both."""

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Resolve a name; Blocked when it may not be called."""
        found = await self._inner.resolve(host, port, family)
        policy = (_verdict.get(None) or Verdict()).policy
        refusals = [refusal for one in found if (refusal := policy.refusal(one["host"])) is not None]
        if where := _refused(refusals, len(found)):
            # Not only noted in the verdict: whoever asks for the same name at this moment gets the same exception.
            raise Blocked(where)
        return found

    async def close(self) -> None:
        """Close what resolves."""
        await self._inner.close()


def _refused(refusals: Sequence[tuple[str, str]], found: int) -> str | None:
    """Choose what is told of the addresses that are refused, if they forbid the name."""
    others = [where for kind, where in refusals if kind != SYNTHESIZED]
    if others:
        return others[0]
    return refusals[0][1] if refusals and len(refusals) == found else None
