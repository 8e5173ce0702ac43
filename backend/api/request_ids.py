"""Gives every request an id, which its answer, its log lines and the record of changes carry; tells of the answer."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import Request
from structlog.contextvars import bind_contextvars, reset_contextvars

from backend.clock import Clock
from backend.events import Events, RequestAnswered

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

PREFIX = "/api/v1"
RUNS = f"{PREFIX}/runs/"
"""What the place of a run begins with, which an answer names when a run was started."""
HEADER = b"x-request-id"
HUNG_UP = 499
"""Stands for the status of a request whose caller left before it was answered."""
_SANE = re.compile(rb"[!-~]{1,128}")
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


def request_id_of(request: Request) -> str:
    """Give the id of a request, for what is recorded about it."""
    return str(getattr(request.state, "request_id", ""))


def adopted(headers: list[tuple[bytes, bytes]]) -> str:
    """Take the caller's own id if it is up to 128 visible ASCII characters, else make one."""
    given = _header(headers, HEADER)
    return given.decode() if _SANE.fullmatch(given) else secrets.token_hex(16)


class Observed:
    """An ASGI application around the API: it sees every answer, also those to what nobody foresaw."""

    def __init__(self, app: App, clock: Clock, events: Events) -> None:
        self._app = app
        self._clock = clock
        self._events = events

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass the request on, and tell how it was answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope.setdefault("state", {})["request_id"] = adopted(scope["headers"])
        answer, began = _Answer(send, request_id, self._clock), self._clock.monotonic()
        tokens = bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, receive, answer.send)
            # Not when it raises: the line that the server then writes belongs to this request, too.
            reset_contextvars(**tokens)
        finally:
            answer.began_at = answer.began_at or self._clock.monotonic()
            self._events.emit(self._fact(scope, answer, answer.began_at - began))

    def _fact(self, scope: Message, answer: _Answer, seconds: float) -> RequestAnswered:
        state = scope["state"]
        return RequestAnswered(
            method=scope["method"] if scope["method"] in _METHODS else "OTHER",
            route=route_of(scope),
            status=answer.status,
            milliseconds=seconds * 1000,
            by=state.get("by", ""),
            request_id=state["request_id"],
            at=self._clock.now(),
            traceparent=_header(scope["headers"], b"traceparent").decode("latin-1"),
            run_id=answer.location.removeprefix(RUNS) if answer.location.startswith(RUNS) else "",
        )


class _Answer:
    """What goes back: it gets the request's id, and is noted."""

    def __init__(self, send: Send, request_id: str, clock: Clock) -> None:
        self._send = send
        self._header = (HEADER, request_id.encode())
        self._clock = clock
        self.status = HUNG_UP
        self.location = ""
        self.began_at = 0.0

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on."""
        if message["type"] == "http.response.start":
            # What counts is when the answer begins: a stream of events goes on for hours.
            self.status, self.began_at = message["status"], self._clock.monotonic()
            headers = list(message.get("headers", ()))
            self.location = _header(headers, b"location").decode("latin-1")
            message = {**message, "headers": [*headers, self._header]}
        await self._send(message)


def route_of(scope: Message) -> str:
    """Name the template of the route; empty when there is none, so that names that callers invent are not kept."""
    path = getattr(scope.get("route"), "path", "")
    # The framework leaves the prefix of a whole router out of it.
    below = scope["path"].startswith(f"{PREFIX}/") and path and not path.startswith(PREFIX)
    return f"{PREFIX}{path}" if below else path


def _header(headers: list[tuple[bytes, bytes]], name: bytes) -> bytes:
    return next((value for key, value in headers if key.lower() == name), b"")
