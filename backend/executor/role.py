"""What the processes of the system have in common: settings, logging, an event loop, and systemd.

Settings are slow to import, and so imported when signals are heeded already.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from backend.process.base import Process
from backend.process.notify import Notifier

if TYPE_CHECKING:
    from backend.executor.wiring import System
    from backend.settings import Settings


COLLECT_AFTER = (20_000, 20, 50)
"""Objects and rounds between two looks for garbage. A batch makes a hundred thousand objects, none of them garbage: by
Python's own numbers it is looked through hundreds of times, which takes a quarter of the time."""


def configured(process: Process, settings: Settings | None) -> Settings:
    """Load settings unless they were given, and let the process's facts be logged."""
    from backend.observe.logs import configure_logging, log_all_but_requests, log_fact
    from backend.settings import load_settings

    settings = settings or load_settings()
    process.grace = settings.shutdown_grace
    configure_logging(
        settings.log_level,
        settings.log_format,
        settings.log_file,
        max_bytes=settings.log_file_max_bytes,
        backups=settings.log_file_backups,
        service=process.service_name,
    )
    process.events.subscribe(log_fact if settings.log_requests else log_all_but_requests)
    return settings


def notifier_of(process: Process) -> Notifier:
    """Let systemd hear of this process, if systemd started it and it is nobody's child."""
    from backend.settings import service_manager

    if multiprocessing.parent_process() is not None:
        return Notifier()
    notifier = Notifier(*service_manager())
    process.events.subscribe(notifier.follow)
    return notifier


class Role(Process):
    """A part of the system that serves from an event loop. Override `serve`."""

    def __init__(self, service_name: str, settings: Settings | None = None) -> None:
        super().__init__(service_name)
        self.settings = settings
        if settings is not None:
            self.grace = settings.shutdown_grace
        self._notifier = Notifier()
        self._stop: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Travel without the event loop."""
        return super().__getstate__() | {"_stop": None}

    def prepare(self) -> None:
        """Load settings and set logging up, unless they were given."""
        self.settings = configured(self, self.settings)
        self._notifier = notifier_of(self)

    def run(self) -> None:
        """Serve until asked to stop."""
        import uvloop

        # Threads of the store plan and compile: the loop, with leases to extend, waits for them 1 ms and not 5.
        sys.setswitchinterval(0.001)
        gc.set_threshold(*COLLECT_AFTER)
        uvloop.run(self._in_loop())

    def ready(self) -> None:
        """Say that this serves; what was made until now is here to stay, and need not be looked through for garbage."""
        gc.freeze()
        super().ready()

    def on_stop_requested(self) -> None:
        """Wake the event loop, from whichever thread."""
        if self._stop is not None:
            loop, event = self._stop
            loop.call_soon_threadsafe(event.set)

    async def _in_loop(self) -> None:
        assert self.settings is not None
        stop = asyncio.Event()
        self._stop = (asyncio.get_running_loop(), stop)
        if not self.stop_requested.is_set():
            from backend.executor.tracing import tracing

            async with tracing(self.settings, self.events, self.service_name):
                await self.serve(self.settings, stop)

    async def serve(self, settings: Settings, stop: asyncio.Event) -> None:
        """Serve until `stop` is set: call `ready()` once this serves."""
        raise NotImplementedError(f"{type(self).__name__} must override serve()")

    @asynccontextmanager
    async def watched(self, is_live: Callable[[], bool]) -> AsyncIterator[None]:
        """Give signs of life to systemd's watchdog as long as `is_live`, until the block is left."""
        beating = asyncio.create_task(self._notifier.keep_alive(is_live))
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.wait([beating])

    async def run_system(self, system: System, stop: asyncio.Event, *beside: asyncio.Task[None]) -> None:
        """Run engine and worker until `stop`, then drain; RuntimeError when they or a task beside end by themselves."""
        running = asyncio.create_task(system.run_loops(), name="loops")
        waiting = asyncio.create_task(stop.wait())
        ready = asyncio.create_task(self._announce_ready(system))
        try:
            async with self.watched(lambda: system.health().live):
                await asyncio.wait([waiting, running, *beside], return_when=asyncio.FIRST_COMPLETED)
                if not waiting.done():
                    ended = next(task for task in (running, *beside) if task.done())
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
