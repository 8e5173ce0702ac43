"""The scheduling system as several processes on one machine, so that a burst of requests cannot delay a fire.

SchedulerTeam   the parent: holds the port and the hatch, starts both again when they die
├── ApiRole     answers requests
└── EngineRole  plans and works
"""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from backend.clock import SystemClock
from backend.events import Listening
from backend.executor.role import Role, configured, notifier_of
from backend.process.notify import Notifier
from backend.process.team import Recruit, Team

if TYPE_CHECKING:
    from backend.settings import Settings

STALLED = timedelta(seconds=30)
AS_LONG_AS_IT_TAKES = timedelta(days=365)
"""A member that waits for the database to answer says so in the log; starting it again would not help."""


class ApiRole(Role):
    """Serves the API on a port that is open already, and asks the engine's process through the hatch."""

    def __init__(self, settings: Settings, port: socket.socket, hatch: bytes) -> None:
        super().__init__("api", settings)
        self.start_timeout = AS_LONG_AS_IT_TAKES
        self.port = port
        self.hatch = hatch

    async def serve(self, settings: Settings, stop: asyncio.Event) -> None:
        """Answer requests until `stop`."""
        from backend.executor.web import Front, serving_on, url_of

        front = Front(lambda: True)
        async with serving_on(self.port, front) as serving:
            wiring = await asyncio.to_thread(importlib.import_module, "backend.executor.wiring")
            from backend.executor.hatch import EngineView
            from backend.executor.patience import when_it_answers
            from backend.service.keys import ensure_admin_key
            from backend.store.open import open_store

            store = await when_it_answers(lambda: open_store(settings.database_url), self.events, stop)
            if store is None:
                return
            admin = store.admin()
            try:
                key_file = await when_it_answers(lambda: ensure_admin_key(admin, settings.data_dir), self.events, stop)
                clock = SystemClock()
                view = EngineView(self.hatch, clock, max(STALLED, 3 * settings.poll_interval))
                async with view.following(), wiring.guarded(store, clock=clock, events=self.events) as trusted:
                    around = wiring.surroundings_of(settings, self.events, view.ring)
                    front.app = wiring.api_on(trusted, around, view.health, view.metrics, settings)
                    self.events.emit(Listening(url_of(self.port), str(key_file)))
                    self.ready()
                    await _until_either(stop, serving)
            finally:
                await asyncio.to_thread(store.close)


class EngineRole(Role):
    """Plans and works, and answers the API's process through the hatch."""

    def __init__(self, settings: Settings, hatch: socket.socket) -> None:
        super().__init__("engine", settings)
        self.start_timeout = AS_LONG_AS_IT_TAKES
        self.hatch = hatch

    async def serve(self, settings: Settings, stop: asyncio.Event) -> None:
        """Plan and work until `stop`, then drain."""
        from backend.executor.hatch import answering, starting_answers

        answers = starting_answers()
        # Before the database is asked: while we wait for it, the parent has to hear that we live.
        async with answering(self.hatch, answers):
            await self._serve_behind(answers, settings, stop)

    async def _serve_behind(self, answers: dict[str, Any], settings: Settings, stop: asyncio.Event) -> None:
        wiring = await asyncio.to_thread(importlib.import_module, "backend.executor.wiring")
        from backend.executor.patience import when_it_answers
        from backend.store.open import open_store

        store = await when_it_answers(lambda: open_store(settings.database_url), self.events, stop)
        if store is None:
            return
        try:
            async with wiring.system_on(store, settings, clock=SystemClock(), events=self.events) as system:
                answers |= system.answers()
                await self.run_system(system, stop)
        finally:
            await asyncio.to_thread(store.close)


class SchedulerTeam(Team):
    """The parent. No arguments needed."""

    def __init__(self, *, settings: Settings | None = None) -> None:
        super().__init__("scheduler")
        self.settings = settings
        self._notifier = Notifier()
        self._sockets = ExitStack()
        self._hatch = b""
        self._beat_at = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Travel before the start only, without sockets."""
        return super().__getstate__() | {"_sockets": ExitStack()}

    def prepare(self) -> None:
        """Load settings, set logging up, and let systemd hear of us."""
        self.settings = configured(self, self.settings)
        self._notifier = notifier_of(self)

    def members(self) -> Sequence[Recruit]:
        """Open the port before all else; it stays open while a member is started again."""
        from backend.executor.hatch import open_hatch
        from backend.executor.web import open_port

        assert self.settings is not None
        port = self._sockets.enter_context(open_port(self.settings.bind_host, self.settings.port))
        hatch = self._sockets.enter_context(open_hatch())
        self._hatch = hatch.getsockname()
        # The engine is asked to stop first: while it drains, the API goes on to tell about it.
        return (partial(ApiRole, self.settings, port, self._hatch), partial(EngineRole, self.settings, hatch))

    def run(self) -> None:
        """Keep both running until asked to stop."""
        with self._sockets:
            super().run()

    def beat(self) -> float | None:
        """Give systemd a sign of life, if the engine's process gives one."""
        from backend.executor.hatch import ask_health

        pause = self._notifier.beat
        if pause is None:
            return None
        now = self._clock.monotonic()
        if now >= self._beat_at:
            self._beat_at = now + pause
            if ask_health(self._hatch):
                self._notifier.alive()
        return self._beat_at - now


async def _until_either(stop: asyncio.Event, serving: asyncio.Task[None]) -> None:
    waiting = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([waiting, serving], return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            serving.result()
            raise RuntimeError("the server ended by itself")
    finally:
        waiting.cancel()
        await asyncio.wait([waiting])
