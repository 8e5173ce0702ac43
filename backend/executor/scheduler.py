"""The scheduling system as one process: engine, workers and API in one event loop.

What is slow to import is imported after the port is open.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from backend.clock import Clock, SystemClock
from backend.events import Listening
from backend.process.base import Process
from backend.settings import Settings, load_settings

if TYPE_CHECKING:
    from backend.executor.wiring import System
    from backend.store.port import Store

NAME = "scheduler"


class Scheduler(Process):
    """The whole system on one machine. No arguments needed.

    `settings` replaces what environment, `.env` and `scheduler.yaml` say; `store` is used instead of the database
    they name, and left open; `clock` replaces this machine's clock and the database's; without a turn of the engine
    for `stalled_after` the health routes say so. To go to the background, what is given must be picklable.
    """

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        store: Store | None = None,
        clock: Clock | None = None,
        stalled_after: timedelta = timedelta(seconds=30),
    ) -> None:
        super().__init__(NAME)
        self.settings = settings
        self.store = store
        self.clock = clock
        self.stalled_after = stalled_after
        self._stop: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Travel without the event loop."""
        return super().__getstate__() | {"_stop": None}

    def prepare(self) -> None:
        """Load settings and set logging up, unless they were given."""
        from backend.observe.logs import configure_logging, log_fact

        settings = self.settings = self.settings or load_settings()
        self.grace = settings.shutdown_grace
        configure_logging(
            settings.log_level,
            settings.log_format,
            settings.log_file,
            max_bytes=settings.log_file_max_bytes,
            backups=settings.log_file_backups,
            service=self.service_name,
        )
        self.events.subscribe(log_fact)

    def run(self) -> None:
        """Serve until asked to stop."""
        import uvloop

        # Threads of the store plan and compile: the loop, with leases to extend, waits for them 1 ms and not 5.
        sys.setswitchinterval(0.001)
        uvloop.run(self._serve())

    def on_stop_requested(self) -> None:
        """Wake the event loop, from whichever thread."""
        if self._stop is not None:
            loop, event = self._stop
            loop.call_soon_threadsafe(event.set)

    async def _serve(self) -> None:
        assert self.settings is not None
        stop = asyncio.Event()
        self._stop = (asyncio.get_running_loop(), stop)
        if self.stop_requested.is_set():
            return
        from backend.executor.web import Front, open_port, server_on, url_of

        front = Front(lambda: True)
        # The port opens first: whoever probes hears that we are starting, not that nobody is there.
        with open_port(self.settings.bind_host, self.settings.port) as listener:
            server = server_on(front)
            serving = asyncio.create_task(server.serve(sockets=[listener]), name="api")
            try:
                await self._run_system(front, stop, serving, url_of(listener))
            finally:
                server.should_exit = True
                await asyncio.wait([serving])

    async def _run_system(self, front: Any, stop: asyncio.Event, serving: asyncio.Task[None], url: str) -> None:  # noqa: ANN401
        assert self.settings is not None
        wiring = await asyncio.to_thread(importlib.import_module, "backend.executor.wiring")
        from backend.service.keys import ensure_admin_key
        from backend.store.open import open_store

        store = self.store or await open_store(self.settings.database_url, clock=self.clock)
        try:
            key_file = await ensure_admin_key(store.admin(), self.settings.data_dir)
            clock = self.clock or SystemClock()
            async with wiring.system_on(
                store, self.settings, clock=clock, events=self.events, stalled_after=self.stalled_after
            ) as system:
                front.app = system.api()
                self.events.emit(Listening(url, str(key_file)))
                await self._until_stopped(system, stop, serving)
        finally:
            if self.store is None:
                await asyncio.to_thread(store.close)

    async def _until_stopped(self, system: System, stop: asyncio.Event, serving: asyncio.Task[None]) -> None:
        running = asyncio.create_task(system.run_loops(), name="loops")
        waiting = asyncio.create_task(stop.wait())
        ready = asyncio.create_task(self._announce_ready(system))
        try:
            await asyncio.wait([waiting, running, serving], return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                ended = running if running.done() else serving
                ended.result()
                raise RuntimeError(f"the task {ended.get_name()} ended by itself")
            await system.drain(running)
        finally:
            for task in (waiting, ready, running):
                task.cancel()
            await asyncio.wait([waiting, ready, running])

    async def _announce_ready(self, system: System) -> None:
        await system.turning()
        self.ready()
