"""Connections with a deadline: who sends a request slowly, or none at all, does not stay, and is in nobody's way."""

from __future__ import annotations

import asyncio
import resource
from dataclasses import dataclass, field
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

KIB = 1024
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def _room() -> int:
    """Say how many connections there may be: half of the files that the process may open, since it needs others."""
    return min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a connection may take. Times in seconds, lengths in bytes."""

    patience: float = 10.0
    """For a request to arrive whole; a longer one has this much more time as its length takes at `rate`."""
    rate: int = 64 * KIB
    head: int = 64 * KIB
    linger: float = 2.0
    """After an answer that did not wait for the body's end, so that the client gets to read it."""
    unread: int = 256 * KIB
    """What is read, and dropped, in that time."""
    connections: int = field(default_factory=_room)


class Crowd:
    """The connections of a server. When there are too many, those go that have been without a request for longest."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._all: set[Connection] = set()
        self._idle: dict[Connection, None] = {}

    def enter(self, one: Connection) -> None:
        """Let a connection in, and another out if that is one too many."""
        self._all.add(one)
        self.idle(one)
        if len(self._all) > self.limits.connections:
            next(iter(self._idle)).end()

    def idle(self, one: Connection) -> None:
        """Note that a connection has no whole request."""
        self._idle[one] = None

    def busy(self, one: Connection) -> None:
        """Note that a whole request has arrived."""
        self._idle.pop(one, None)

    def leave(self, one: Connection) -> None:
        """Forget a connection."""
        self._all.discard(one)
        self._idle.pop(one, None)


class Connection(HttpToolsProtocol):
    """A connection that is closed when a request takes too long to arrive, or is too long."""

    def __init__(self, crowd: Crowd, *given: Any, **named: Any) -> None:  # noqa: ANN401 - uvicorn's arguments
        super().__init__(*given, **named)
        self._crowd, self._limits = crowd, crowd.limits
        self._arriving = self._in_head = False
        self._since = 0.0
        self._size = 0
        self._unread: int | None = None
        self._deadline: asyncio.TimerHandle | None = None

    # uvicorn's callbacks

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn does
        super().connection_made(transport)
        self._crowd.enter(self)
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.leave(self)
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if not self._arriving:
            self._begin()
        self._size += len(data)
        if self._unread is not None:
            self._unread -= len(data)
            if self._unread < 0:
                self.end()
                return
        super().data_received(data)
        if self._arriving and self._in_head and self._size > self._limits.head:
            self.end(TOO_LONG)

    def on_message_begin(self) -> None:
        if not self._arriving:
            self._begin()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._rest()
        self._crowd.busy(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            return
        self._crowd.idle(self)
        if self._arriving and self._unread is None:
            self._unread = self._limits.unread
            self.loop.call_later(self._limits.linger, self._end_of, self._since)

    # The deadline

    def _begin(self) -> None:
        self._arriving = self._in_head = True
        self._since, self._size, self._unread = self.loop.time(), 0, None
        self._watch(self._limits.patience)

    def _rest(self) -> None:
        self._arriving = self._in_head = False
        self._unread = None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _watch(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self._look)

    def _look(self) -> None:
        if self.flow.read_paused:  # it is us who keep the client waiting
            self._watch(self._limits.patience)
            return
        left = self._since + self._limits.patience + self._size / self._limits.rate - self.loop.time()
        if left > 0:
            self._watch(left)
        else:
            self.end(TOO_SLOW if self._size else b"")

    def _end_of(self, request: float) -> None:
        if self._arriving and self._since == request:
            self.end()

    def end(self, word: bytes = b"") -> None:
        """Close, with a last word unless an answer has begun."""
        if self.transport.is_closing():
            return
        if word and (self._in_head or not self.cycle.response_started):
            self.transport.write(word)
        self.transport.close()
