"""Outgoing HTTP: one request, one answer, nothing sent twice."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from backend.model.egress import ANYWHERE, Egress
from backend.targets.http_guard import (
    FOREIGN,
    Blocked,
    GuardedResolver,
    Policy,
    literal_address,
    open_permitted_socket,
    verdict,
)
from backend.targets.output import Output, quote

CONNECT_SECONDS = 10.0
# The worker ends an attempt at its timeout; this bound of ours is for callers that do not.
BEYOND_TIMEOUT_SECONDS = 5.0
# Servers drop idle connections after 2 s (gunicorn) or 5 s (uvicorn, Node). A request that meets such a close
# is a failed attempt, and a schedule of every 5 s would meet it again and again. So only bursts share connections.
KEEPALIVE_SECONDS = 0.75


@dataclass(frozen=True, slots=True)
class Request:
    """What to send. `timeout` in seconds."""

    method: str
    url: URL
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    timeout: float
    egress: Egress = ANYWHERE
    """Which hosts may be called."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `complete` is False when the connection was lost in the middle of the body."""

    status: int
    headers: Mapping[str, str]
    output: Output
    complete: bool


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nothing came back, and why."""

    error: str
    permanent: bool = False


class Sender:
    """A pool of connections that closes the traps of the client library beneath it."""

    def __init__(self, session: aiohttp.ClientSession, apart: aiohttp.ClientSession, *, allow_private: bool) -> None:
        self._session = session
        self._apart = apart
        self._allow_private = allow_private

    @classmethod
    @asynccontextmanager
    async def open(
        cls, *, concurrency: int, allow_private: bool, resolver: AbstractResolver | None = None
    ) -> AsyncIterator[Self]:
        """Open a pool for `concurrency` requests at a time; names are resolved by the system, or by `resolver`."""
        shared = {"keepalive_timeout": KEEPALIVE_SECONDS}
        # Where one namespace may reach a network that others may not, no connection nor answer of a name is shared.
        alone = {"force_close": True, "use_dns_cache": False}
        async with (
            _session(concurrency, resolver, **shared) as session,
            _session(concurrency, resolver, **alone) as apart,
        ):
            yield cls(session, apart, allow_private=allow_private)

    async def send(self, request: Request) -> Answer | NoAnswer:
        """Send a request once. Returns NoAnswer for all that goes wrong on the network."""
        host, egress = request.url.raw_host or "", request.egress
        policy = Policy(self._allow_private, egress, egress.names_host(host))
        if egress.restricted and not policy.named and not egress.networks:
            return blocked(request, FOREIGN)
        # A connection that is kept alive could lead to where nobody asked the guard for this request.
        address = literal_address(host)
        if address is not None and (refusal := policy.refusal(host)) is not None:
            return blocked(request, refusal[1])
        with verdict(policy) as judged:
            try:
                return await self._exchange(self._apart if egress.networks else self._session, request)
            except (aiohttp.ClientError, OSError, TimeoutError, UnicodeError) as error:
                where = refusal_in(error) or judged.blocked
                return explain(error, request) if where is None else blocked(request, where)

    async def _exchange(self, session: aiohttp.ClientSession, request: Request) -> Answer:
        async with session.request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.body,
            allow_redirects=False,
            timeout=bounds(request),
        ) as response:
            output = Output()
            complete = await _read(response, output)
            return Answer(response.status, response.headers, output, complete)


@asynccontextmanager
async def _session(
    concurrency: int,
    resolver: AbstractResolver | None,
    **options: Any,  # noqa: ANN401 - the connector's
) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(
        limit=concurrency,
        limit_per_host=concurrency,
        # The system's: /etc/hosts and search domains count.
        resolver=GuardedResolver(resolver or aiohttp.ThreadedResolver()),
        timeout_ceil_threshold=math.inf,
        socket_factory=open_permitted_socket,
        **options,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),  # a jar would carry cookies from one tenant to the next
        auto_decompress=False,  # a small answer must not become a large one
        trust_env=False,
    ) as session:
        # aiohttp sends GET, PUT, DELETE once more, unasked, when a kept-alive connection is reset: an attempt
        # that nobody counted. There is no public switch; test_a_put_is_never_sent_twice guards this one.
        session._retry_connection = False  # noqa: SLF001
        yield session


def blocked(request: Request, where: str) -> NoAnswer:
    """Say that the host may not be called; asking again would not help."""
    return NoAnswer(f"blocked: {request.url.host} is {where}", permanent=True)


def refusal_in(error: Exception) -> str | None:
    """Find the resolver's refusal in what the client made of it."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return cause.where if isinstance(cause, Blocked) else None


def bounds(request: Request) -> aiohttp.ClientTimeout:
    """Bound connect and whole exchange; without the threshold aiohttp would round 5 s and more up to whole seconds."""
    total = request.timeout + BEYOND_TIMEOUT_SECONDS
    return aiohttp.ClientTimeout(total=total, sock_connect=CONNECT_SECONDS, ceil_threshold=math.inf)


async def _read(response: aiohttp.ClientResponse, output: Output) -> bool:
    try:
        async for chunk in response.content.iter_any():
            output.add(chunk)
            if output.truncated:
                break  # aiohttp closes a connection that is released with something unread
    except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, OSError):
        return False
    return True


def explain(error: Exception, request: Request) -> NoAnswer:  # noqa: PLR0911 - a table, one line per cause
    """Put a network error into words and decide whether asking again could help."""
    where = f"{request.url.host}:{request.url.port}"
    match error:
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | UnicodeError():
            return NoAnswer(f"the URL cannot be used: {quote(str(error))}", permanent=True)
        case aiohttp.ConnectionTimeoutError():
            return NoAnswer(f"could not connect to {where} within {CONNECT_SECONDS:g} s")
        case aiohttp.ClientConnectorDNSError():
            return NoAnswer(f"cannot resolve {request.url.host}")
        case aiohttp.ClientConnectorCertificateError():
            return NoAnswer(f"the certificate of {where} was refused: {quote(str(error.certificate_error))}")
        case aiohttp.ClientConnectorError():
            return NoAnswer(f"cannot connect to {where}: {quote(str(error.os_error))}")
        case TimeoutError():
            return NoAnswer(f"no answer from {where} within {request.timeout:g} s")
        case aiohttp.ClientResponseError():
            return NoAnswer(f"the answer of {where} is not valid HTTP: {quote(error.message)}")
        case _:
            return NoAnswer(f"{where} closed the connection before it answered; whether it acted is unknown")
