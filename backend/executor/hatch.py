"""The hatch between the engine's process and the API's: bells are rung through it, health and metrics handed out.

One question per connection: a word and a newline. The answer is all that follows until the end. The socket belongs to
the parent of both, so that it outlives either, and a question to an engine that is being restarted just takes longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from backend.api.context import Health
from backend.clock import Clock
from backend.engine.loop import Doorbell
from backend.errors import StoreUnavailable

BELLS = ("engine", "workers", "leases")
HEALTH, METRICS = "health", "metrics"
PATIENCE = 2.0
LOOK_SECONDS = 0.5
SILENT_SECONDS = 5.0
"""After which an engine that does not answer makes the server not ready: longer than its restart takes."""
_CREDENTIALS = struct.Struct("3i")

Answers = Mapping[str, Callable[[], Awaitable[bytes]]]


def open_hatch() -> socket.socket:
    """Listen in the abstract namespace, under a name that the kernel chooses."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind("")
    listener.listen(128)
    return listener


@asynccontextmanager
async def answering(listener: socket.socket, answers: Answers) -> AsyncIterator[None]:
    """Answer questions until the block is left."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Before a word is read: nobody else may keep us waiting, or tell whether a word is known.
            if _is_one_of_us(writer.get_extra_info("socket")):
                await _converse(reader, writer, answers)
        finally:
            writer.close()

    server = await asyncio.start_unix_server(talk, sock=listener.dup())
    try:
        yield
    finally:
        server.close()


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: Answers) -> None:
    # Without a database there are no metrics: who asked hears nothing, and takes it for that.
    with contextlib.suppress(OSError, TimeoutError, ValueError, StoreUnavailable):
        async with asyncio.timeout(PATIENCE):
            word = (await reader.readline()).decode().strip()
            if word in answers:
                writer.write(await answers[word]())
            await writer.drain()


def _is_one_of_us(connection: Any) -> bool:  # noqa: ANN401 - uvloop's own kind of socket
    """Say whether the other end is of this user: an abstract socket has no permissions."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(packed)[1] == os.getuid())


async def ask(address: bytes, word: str) -> bytes:
    """Ask one question; OSError or TimeoutError when there is no answer."""
    async with asyncio.timeout(PATIENCE):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)  # noqa: FBT003 - its only parameter
        try:
            connection.connect(address)
            reader, writer = await asyncio.open_unix_connection(sock=connection)
        except BaseException:
            connection.close()
            raise
        try:
            writer.write(f"{word}\n".encode())
            return await reader.read()
        finally:
            writer.close()


def ask_health(address: bytes) -> bool:
    """Say whether the engine calls itself alive; for who has no event loop."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(PATIENCE / 2)
            connection.connect(address)
            connection.sendall(f"{HEALTH}\n".encode())
            content = b"".join(iter(lambda: connection.recv(4096), b""))
        return bool(json.loads(content)["live"])
    except (OSError, ValueError, KeyError):
        return False


def starting_answers() -> dict[str, Callable[[], Awaitable[bytes]]]:
    """Answer for an engine that is not there yet, as while it waits for its database: alive, and not ready.

    It has no bells to ring and no metrics; what is rung for, it finds by itself when it begins.
    """

    async def health() -> bytes:
        return health_text(Health(live=True, ready=False, status="starting", details={}))

    return {HEALTH: health}


def health_text(health: Health) -> bytes:
    """Write health down, for the other side."""
    return json.dumps(health._asdict()).encode()


class EngineView:
    """What the API's process knows of the engine: its bells, its health as last told, and its metrics."""

    def __init__(self, address: bytes, clock: Clock, stalled_after: timedelta) -> None:
        self._address = address
        self._clock = clock
        self._stalled_after = stalled_after.total_seconds()
        self._health: Health | None = None
        self._heard_at = clock.monotonic()
        self._bells = {word: Doorbell() for word in BELLS}

    def ring(self, bell: str) -> Callable[[], None]:
        """Give what rings one of the engine's bells; rings that come while one is on its way are one."""
        return self._bells[bell].ring

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Pass rings on and ask for health until the block is left."""
        tasks = [asyncio.create_task(self._look())]
        tasks += [asyncio.create_task(self._pass_on(word, bell)) for word, bell in self._bells.items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _look(self) -> None:
        while True:
            with contextlib.suppress(OSError, TimeoutError, ValueError, TypeError):
                self._health = Health(**json.loads(await ask(self._address, HEALTH)))
                self._heard_at = self._clock.monotonic()
            await asyncio.sleep(LOOK_SECONDS)

    async def _pass_on(self, word: str, bell: Doorbell) -> None:
        while True:
            await bell.heard()
            with contextlib.suppress(OSError, TimeoutError):  # polling finds what this would have hastened
                await ask(self._address, word)

    def health(self) -> Health:
        """Judge by what the engine said last, and by how long ago that was."""
        silence = self._clock.monotonic() - self._heard_at
        told = self._health
        live = silence < self._stalled_after and (told is None or told.live)
        ready = live and told is not None and told.ready and silence < SILENT_SECONDS
        details = {**(told.details if told else {}), "engine_unheard_seconds": round(silence, 3)}
        if told is not None and told.status == "draining":
            return Health(live=True, ready=False, status=told.status, details=details)
        if live and told is not None and told.status == "faltering":
            return Health(live=True, ready=False, status=told.status, details=details)
        status = "ready" if ready else "starting" if live else "stalled"
        return Health(live, ready, status, details)

    async def metrics(self) -> tuple[bytes, str]:
        """Fetch the engine's metrics; StoreUnavailable when it does not answer."""
        try:
            content_type, _, content = (await ask(self._address, METRICS)).partition(b"\n")
        except (OSError, TimeoutError):
            raise StoreUnavailable("the engine's process does not answer; it may be starting") from None
        if not content:
            raise StoreUnavailable("the engine's process has no metrics now; it is starting, or its database is away")
        return content, content_type.decode()
