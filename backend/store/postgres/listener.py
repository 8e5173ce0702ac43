"""Hears what other servers notify, on a connection of its own that is made again whenever it is lost.

The same connection serves the caretaker, who must not stand in line for one that others hold.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import asyncpg

from backend.store.postgres.caretaker import LOOK_EVERY, Caretaker
from backend.store.postgres.url import Target
from backend.store.wakeup import EVERYTHING, Hear

PATIENCE = 10.0
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0


class Listener:
    """Listens once it is started. Nobody may rely on it: whoever hears nothing polls."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._caretaker = Caretaker(target)
        self._listeners: list[Hear] = []
        self._task: asyncio.Task[None] | None = None

    def start(self, listener: Hear) -> None:
        """Tell this callback from now on."""
        self._listeners.append(listener)
        if self._task is None:
            self._task = asyncio.create_task(self._listen(), name="listener")

    def stop(self) -> None:
        """Hear nothing any more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _listen(self) -> None:
        pause, loop = FIRST_PAUSE, asyncio.get_running_loop()
        while True:
            began = loop.time()
            with suppress(Exception):  # whatever it is: what fires says what ails the database, and this comes back
                await self._listen_once()
            if loop.time() - began > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _listen_once(self) -> None:
        """Listen until the connection is lost."""
        target = self._target
        connection = await asyncpg.connect(
            target.dsn,
            timeout=target.connect_timeout,
            command_timeout=PATIENCE,
            statement_cache_size=0,
            server_settings={"application_name": target.application},
        )
        lost = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: lost.set())
            if not target.pooled:  # a pooler would give the session to others
                with suppress(asyncpg.PostgresError):  # a pooler of which we were not told may refuse
                    await connection.add_listener(target.channel, self._heard)
                # Whatever was said while nobody listened is not said again.
                self._tell(EVERYTHING)
            while not lost.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY):
                        await lost.wait()
                if not lost.is_set():
                    await self._caretaker.look(connection)
        finally:
            connection.terminate()

    def _heard(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:  # noqa: ANN401 - untyped
        self._tell(frozenset(str(payload).split(",")))

    def _tell(self, hints: frozenset[str]) -> None:
        for listener in self._listeners:
            listener(hints)
