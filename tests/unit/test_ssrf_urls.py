"""No spelling of a forbidden address is accepted in a URL.

The forms are generated: every kind of forbidden address in every way of writing it that some program reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from backend.errors import FieldError
from backend.targets.base import TargetRules
from backend.targets.http import HttpTarget
from backend.targets.http_guard import forbidden_kind
from tests.unit.ssrf_world import (
    FORBIDDEN_V4,
    FORBIDDEN_V6,
    PUBLIC,
)

STRICT = TargetRules(allow_commands=False, allow_private_urls=False)
WIDE = str.maketrans("0123456789.", "０１２３４５６７８９。")


def spellings(address: str) -> Iterator[str]:
    """Write an IPv4 address in all the ways that some resolver or library reads as it."""
    value = int(IPv4Address(address))
    a, b, c, d = IPv4Address(address).packed
    yield from (
        address,
        f"{address}.",
        address.translate(WIDE),
        address.replace(".", "。"),
        address.replace(".", "%2e"),
    )
    yield from (str(value), f"0x{value:x}", f"0X{value:08X}", f"0{value:o}", f"{value}.")
    yield from (f"{a}.{(b << 16) + (c << 8) + d}", f"{a}.{b}.{(c << 8) + d}", f"0x{a:x}.{b}.{c}.{d}")
    yield from (f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}", f"{a:03}.{b:03}.{c:03}.{d:03}")
    yield from (f"{a}.{b}.{c}.0x{d:x}", f"{a}.{b}.0x{(c << 8) + d:x}", f"0x{a:x}.{(b << 16) + (c << 8) + d}")
    high, low = f"{(a << 8) + b:x}", f"{(c << 8) + d:x}"
    yield from (f"[::ffff:{address}]", f"[::FFFF:{high}:{low}]", f"[0:0:0:0:0:ffff:{high}:{low}]", f"[::{address}]")
    yield from (f"[64:ff9b::{address}]", f"[64:ff9b:1::{high}:{low}]", f"[2002:{high}:{low}::]")
    yield from (
        f"[2001:0:{high}:{low}::1]",
        f"[2001::1:{high}:{low}]",
        f"[::ffff:{address}%25eth0]",
        f"[::ffff:0:{address}]",
    )


def spellings_v6(address: str) -> Iterator[str]:
    """Write an IPv6 address in the ways that there are."""
    full = IPv6Address(address)
    yield from (
        f"[{address}]",
        f"[{full.exploded}]",
        f"[{full.exploded.upper()}]",
        f"[{address}%25eth0]",
        f"[{address}%251]",
    )


HOSTS = [
    *((host, address) for address in FORBIDDEN_V4 for host in spellings(address)),
    *((host, address) for address in FORBIDDEN_V6 for host in spellings_v6(address)),
]


def test_no_spelling_of_a_forbidden_address_is_accepted_in_a_url() -> None:
    accepted = [
        host for host, _ in HOSTS if _is_accepted(f"http://{host}/") or _is_accepted(f"https://{host}:8080/a?b")
    ]
    assert not accepted
    assert len(HOSTS) > 700


def _is_accepted(url: str) -> bool:
    try:
        HttpTarget(url=url).check(STRICT)
    except (FieldError, ValueError):
        return False
    return True


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org@127.0.0.1/",
        "http://127.0.0.1@example.org/",
        "http://127.0.0.1\\@example.org/",
        "http://example.org\\.127.0.0.1/",
        "http://127.0.0.1:80@example.org/",
        "http://127.0.0.1#@example.org/",
        "http://127.0.0.1?@example.org/",
        "http:127.0.0.1/",
        "http:///127.0.0.1/",
        "//127.0.0.1/",
        "http://127.0.0.1\t.example.org/",
        "http://[::1]example.org/",
        "http://[::1].example.org/",
        "http://[v1.127.0.0.1]/",
        "file://127.0.0.1/etc/passwd",
        "gopher://127.0.0.1/",
        "dict://127.0.0.1:11211/",
        "unix:///var/run/docker.sock",
    ],
)
def test_a_url_that_two_readers_could_understand_differently_is_refused(url: str) -> None:
    assert not _is_accepted(url)


def test_public_addresses_are_accepted() -> None:
    assert all(_is_accepted(f"http://{f'[{address}]' if ':' in address else address}/") for address in PUBLIC)
    assert [forbidden_kind(ip_address(address)) for address in PUBLIC] == [None] * len(PUBLIC)
