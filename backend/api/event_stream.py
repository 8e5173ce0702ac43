"""Server-sent events: what happens, as it happens, to who reads it fast enough."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import Response
from starlette.types import Receive, Scope, Send

from backend.errors import StoreUnavailable
from backend.model.instants import rfc3339
from backend.service.feed import Feed
from backend.store.feed import Happening

LOOK = 1.0
"""Seconds between two looks."""
HEARTBEAT = 15
"""Looks without news after which a comment keeps the connection alive."""
SLOWEST = 30.0
"""Seconds that a reader may take for what was sent to it."""
HEARTBEAT_LINE = b": still here\n\n"


def written(one: Happening) -> bytes:
    """Write an event; its id is where to go on after it."""
    data = orjson.dumps({"at": rfc3339(one.at), "kind": one.kind, **one.document})
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (one.at, one.kind.encode(), data)


async def written_news(feed: Feed, is_over: Callable[[], bool], *, follow: bool) -> AsyncIterator[bytes]:
    """Give what happens as it is sent, until the server drains; without `follow` until all is told."""
    quiet = HEARTBEAT
    while not is_over():
        try:
            news = await feed.news()
        except StoreUnavailable:
            return  # whoever reads comes again with the id of the last event, perhaps to another server
        if news:
            yield b"".join(map(written, news))
        quiet = 0 if news else quiet + 1
        if quiet >= HEARTBEAT:
            yield HEARTBEAT_LINE
            quiet = 0
        if feed.caught_up:
            if not follow:
                return
            await asyncio.sleep(LOOK)


@dataclass
class Seat:
    """A place among the streams of a key, taken until the stream ends."""

    take: Callable[[], None]
    leave: Callable[[], None]


class EventStream(Response):
    """Sends pieces until there are none, the reader leaves, or is too slow; nothing is kept for who does not read."""

    media_type = "text/event-stream"

    def __init__(self, pieces: AsyncIterator[bytes], seat: Seat, *, endless: bool) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._pieces = pieces
        self._seat = seat
        self._endless = endless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Answer."""
        self._seat.take()
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            with suppress(TimeoutError, OSError):
                await (_until(self._send(send), _left(receive)) if self._endless else self._send(send))
        finally:
            self._seat.leave()

    async def _send(self, send: Send) -> None:
        async for piece in self._pieces:
            async with asyncio.timeout(SLOWEST):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until(work: Coroutine[Any, Any, None], end: Coroutine[Any, Any, None]) -> None:
    """Do the work, at most until something else comes to its end."""
    working, ending = asyncio.create_task(work), asyncio.create_task(end)
    try:
        await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        done = working.done()
        for task in (working, ending):
            task.cancel()
        await asyncio.gather(working, ending, return_exceptions=True)
    if done:
        working.result()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
