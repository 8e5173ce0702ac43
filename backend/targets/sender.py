"""Outgoing HTTP: one request, one answer, nothing sent twice."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

import aiohttp
from yarl import URL

from backend.targets.http_guard import open_public_socket, verdict
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
    headers: Mapping[str, str]
    body: bytes | None
    timeout: float


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
    blocked: bool = False
    """Nothing was sent, because the address is not public."""


class Sender:
    """A pool of connections that closes the traps of the client library beneath it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @classmethod
    @asynccontextmanager
    async def open(cls, *, concurrency: int, allow_private: bool) -> AsyncIterator[Self]:
        """Open a pool for `concurrency` requests at a time."""
        connector = aiohttp.TCPConnector(
            limit=concurrency,
            limit_per_host=concurrency,
            resolver=aiohttp.ThreadedResolver(),  # the system's: /etc/hosts and search domains count
            keepalive_timeout=KEEPALIVE_SECONDS,
            timeout_ceil_threshold=math.inf,
            socket_factory=None if allow_private else open_public_socket,
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
            yield cls(session)

    async def send(self, request: Request) -> Answer | NoAnswer:
        """Send a request once. Returns NoAnswer for all that goes wrong on the network."""
        with verdict() as judged:
            try:
                return await self._exchange(request)
            except (aiohttp.ClientError, OSError, TimeoutError, UnicodeError) as error:
                if judged.blocked is not None:
                    text = f"blocked: {request.url.host} is at a {judged.blocked} address"
                    return NoAnswer(text, permanent=True, blocked=True)
                return explain(error, request)

    async def _exchange(self, request: Request) -> Answer:
        async with self._session.request(
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
