"""Forbidden addresses, names that resolve as written down, and servers on loopback that nobody should reach."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from backend.model.egress import ANYWHERE, Egress
from backend.targets import http_guard
from backend.targets.sender import Request, Sender

FORBIDDEN_V4 = [
    "0.0.0.0",
    "0.255.1.2",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.254",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
]
FORBIDDEN_V6 = [
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:0:1",
    "64:ff9b::1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "3fff::1",
    "5f00::1",
    "4000::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff05::2",
]
PUBLIC = ("1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8")


class Names(AbstractResolver):
    """A resolver whose answers are written down; a list of lists is answered one after another."""

    def __init__(self, **names: list[str] | list[list[str]]) -> None:
        self.names = names
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append(host)
        found = self.names[host.partition(".")[0]]
        addresses = found.pop(0) if isinstance(found[0], list) else found
        return [_resolved(host, port, str(address)) for address in addresses]

    async def close(self) -> None:
        """Nothing to do."""


def _resolved(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)


@asynccontextmanager
async def sending(resolver: Names | None = None, *, allow_private: bool = False) -> AsyncIterator[Sender]:
    async with Sender.open(concurrency=50, allow_private=allow_private, resolver=resolver) as one:
        yield one


def request(url: str, egress: Egress = ANYWHERE, timeout: float = 10) -> Request:
    return Request("GET", URL(url), {}, None, timeout, egress)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    """Serve on loopback and leave no connection open; answers the port."""
    writers: list[asyncio.StreamWriter] = []

    async def serving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await serve(reader, writer)

    server = await asyncio.start_server(serving, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


class Port:
    number = 0


def public(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let loopback pass for public, so that a test can be called by a sender that guards."""
    real = http_guard.forbidden_kind
    given = {"127.0.0.1"}
    monkeypatch.setattr(http_guard, "forbidden_kind", lambda a: None if str(a) in given else real(a))
    return given.discard


@asynccontextmanager
async def kept_alive() -> AsyncIterator[tuple[int, list[int]]]:
    """Serve connections that stay open; each request notes the number of its connection."""
    seen: list[int] = []
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        number = connections
        while True:
            await reader.readuntil(b"\r\n\r\n")
            seen.append(number)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=1\r\n\r\nok")

    async with listening(serve) as port:
        yield port, seen
