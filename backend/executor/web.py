"""The port: open before anything slow, answering `starting` until the API is there."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn

from backend.errors import ConfigurationError

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

BACKLOG = 2048
HIGHEST_PORT = 65535
GRACEFUL = 3
"""Seconds that requests in flight get when the server closes."""


class Front:
    """An ASGI application that stands in for the API while that is being loaded."""

    def __init__(self, is_live: Callable[[], bool]) -> None:
        self.app: ASGI3Application | None = None
        self._is_live = is_live

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Hand over to the API, or answer for it."""
        if self.app is not None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            live = scope["path"] == "/livez" and self._is_live()
            await _answer(send, 200 if live else 503, {"status": "starting"})


async def _answer(send: Any, status: int, body: MutableMapping[str, Any]) -> None:  # noqa: ANN401 - ASGI
    headers = [(b"content-type", b"application/json"), (b"retry-after", b"1")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


class Server(uvicorn.Server):
    """uvicorn without signal handlers: signals belong to `run_processes`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the handlers as they are; uvicorn's own would end the process with 143 and leases unreleased."""
        yield


def open_port(host: str, port: int, setting: str = "SCHEDULER_PORT") -> socket.socket:
    """Listen, or raise ConfigurationError; port 0 takes any that is free."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError, OverflowError) as error:
        raise ConfigurationError(_refusal(host, port, error, setting)) from None


def _refusal(host: str, port: int, error: Exception, setting: str) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        other = port + 1 if port < HIGHEST_PORT else port - 1
        return f"{host}:{port} is in use; stop what uses it, or start with {setting}={other}"
    why = getattr(error, "strerror", None) or error
    return f"SCHEDULER_BIND_HOST, {setting}: {host}:{port} cannot be listened on ({why}), so choose another"


def server_on(front: Front) -> Server:
    """Build the HTTP server."""
    return Server(
        uvicorn.Config(
            front,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            http="httptools",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=GRACEFUL,
        )
    )


@asynccontextmanager
async def serving_on(listener: socket.socket, front: Front) -> AsyncIterator[asyncio.Task[None]]:
    """Serve on an open port until the block is left."""
    server = server_on(front)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="api")
    try:
        yield serving
    finally:
        server.should_exit = True
        await asyncio.wait([serving])


def url_of(listener: socket.socket) -> str:
    """Name the address under which the port can be reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
