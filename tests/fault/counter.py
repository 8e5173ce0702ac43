"""An HTTP sink that is lean enough for hundreds of thousands of requests: of each it keeps a few numbers."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple, Self, cast

import uvloop


class Dispatch(NamedTuple):
    """One request that named its run."""

    attempt: int
    at: float
    """Seconds since 1970."""
    key: str
    """The idempotency key."""


class Counter:
    """Answers every request with the number of its attempt, `slow` seconds later; runs in a thread until it is left.

    Between `hold` and `release` it answers nobody, so that what has begun cannot end.
    """

    def __init__(self, slow: float = 0.0) -> None:
        self.slow = slow
        self.seen: dict[str, list[Dispatch]] = defaultdict(list)
        self.port = 0
        self._held: list[Callable[[], None]] | None = None
        self._loop = uvloop.new_event_loop()
        self._over = asyncio.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), name="counter")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    @property
    def requests(self) -> int:
        return sum(map(len, list(self.seen.values())))

    @property
    def waiting(self) -> int:
        """Count the requests whose answers are held."""
        return len(self._held or ())

    def hold(self) -> None:
        """Answer nobody from now on."""
        self._ask(self._hold)

    def release(self) -> None:
        """Answer all who wait, and go on as before."""
        self._ask(self._release)

    def _ask(self, act: Callable[[], None]) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(act)
        self._loop.call_soon_threadsafe(done.set)
        assert done.wait(10)

    def _hold(self) -> None:
        self._held = self._held or []

    def _release(self) -> None:
        held, self._held = self._held or [], None
        for answer in held:
            answer()

    def answer(self, transport: asyncio.Transport, text: bytes) -> None:
        """Write an answer when it is time; whoever waits for it may be gone by then."""

        def write() -> None:
            if not transport.is_closing():
                transport.write(text)

        if self._held is not None:
            self._held.append(write)
        elif self.slow:
            self._loop.call_later(self.slow, write)
        else:
            write()

    async def _serve(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        server = await self._loop.create_server(lambda: _Connection(self), sock=listener)
        self.port = listener.getsockname()[1]
        self._listening.set()
        await self._over.wait()
        server.close()


class _Connection(asyncio.Protocol):
    """One keep-alive connection; bodies are skipped."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (end := self._unread.find(b"\r\n\r\n")) >= 0:
            headers = self._headers(self._unread[:end])
            size = end + 4 + int(headers.get(b"content-length", 0))
            if len(self._unread) < size:
                return
            self._unread = self._unread[size:]
            self._answer(headers)

    def _headers(self, head: bytes) -> dict[bytes, bytes]:
        pairs = (line.partition(b":") for line in head.split(b"\r\n")[1:])
        return {name.lower(): value.strip() for name, _, value in pairs}

    def _answer(self, headers: dict[bytes, bytes]) -> None:
        attempt = headers[b"x-attempt"].decode()
        dispatch = Dispatch(int(attempt), time.time(), headers[b"idempotency-key"].decode())
        self._counter.seen[headers[b"x-run-id"].decode()].append(dispatch)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(attempt), attempt.encode())
        self._counter.answer(self._transport, answer)
