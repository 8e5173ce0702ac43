"""A TCP proxy that treats connections badly, as networks do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from enum import StrEnum
from typing import Self

CHUNK = 65536
AT_ONCE = struct.pack("ii", 1, 0)
"""Linger for no time: closing resets the connection instead of ending it politely."""


class Fault(StrEnum):
    """What happens to what passes through."""

    NONE = "none"
    REFUSED = "refused"
    """New connections are closed at once."""
    DELAYED = "delayed"
    """Everything arrives later."""
    BLACK_HOLE = "black_hole"
    """Nothing arrives in either direction while it lasts; nobody is told. Then it does, as TCP would repeat it."""
    DEAF = "deaf"
    """Half open: what is sent arrives, the answers do not."""


class FaultProxy:
    """Listens on a port of its own and passes on to one address; runs in a thread until it is left."""

    def __init__(self, port: int, *, delay: float = 0.2) -> None:
        self._target = port
        self._delay = delay
        self._fault = Fault.NONE
        self._healed = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), name="proxy")
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    def set(self, fault: Fault) -> None:
        """Treat all connections so from now on; NONE heals."""
        self._ask(lambda: self._set(fault))

    def cut(self) -> None:
        """Reset all connections that there are."""
        self._ask(self._cut)

    def _ask(self, act: Callable[[], None]) -> None:
        done = threading.Event()

        def acted() -> None:
            act()
            done.set()

        self._loop.call_soon_threadsafe(acted)
        assert done.wait(10)

    def _set(self, fault: Fault) -> None:
        self._fault = fault
        healed, self._healed = self._healed, asyncio.Event()
        healed.set()

    def _cut(self) -> None:
        for writer in self._writers:
            _reset(writer)

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._over.wait()
        server.close()
        self._cut()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._fault is Fault.REFUSED:
            _reset(writer)
            return
        try:
            away_reader, away_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _reset(writer)
            return
        self._writers |= {writer, away_writer}
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(
                    self._pass(reader, away_writer, answers=False), self._pass(away_reader, writer, answers=True)
                )
        finally:
            self._writers -= {writer, away_writer}
            writer.transport.abort()
            away_writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        try:
            while chunk := await reader.read(CHUNK):
                await self._hold(answers=answers)
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:  # also after a reset, which whoever is killed with answers unread sends: the other side hears of it
            writer.close()

    async def _hold(self, *, answers: bool) -> None:
        while self._fault is Fault.BLACK_HOLE or (self._fault is Fault.DEAF and answers):
            await self._healed.wait()
        if self._fault is Fault.DELAYED:
            await asyncio.sleep(self._delay)


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # it may be closed already
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    writer.transport.abort()
