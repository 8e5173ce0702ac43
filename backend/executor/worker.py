"""One more worker for a database that others plan on: `python -m backend.executor.worker`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from backend.clock import SystemClock
from backend.events import WorkerListening
from backend.executor.role import Role
from backend.process.arguments import take_no_arguments
from backend.process.init import step_aside_as_init
from backend.process.supervisor import Supervisor
from backend.settings import Settings

if TYPE_CHECKING:
    from backend.executor.worker_page import WorkerPage

STALLED = timedelta(seconds=30)


class WorkerRole(Role):
    """Claims runs and works them off. It plans nothing, and opens a port only for who watches it."""

    def __init__(self, *, settings: Settings | None = None) -> None:
        super().__init__("worker", settings)

    async def serve(self, settings: Settings, stop: asyncio.Event) -> None:
        """Work until `stop`, then drain."""
        from backend.executor.patience import when_it_answers
        from backend.executor.wiring import drained, worker_on
        from backend.executor.worker_page import WorkerPage
        from backend.observe.metrics import Metrics
        from backend.store.open import open_store
        from backend.store.timed import timed

        clock = SystemClock()
        store = await when_it_answers(lambda: open_store(settings.database_url), self.events, stop)
        if store is None:
            return
        metrics = Metrics(clock)
        self.events.subscribe(metrics.observe)
        store = timed(store, metrics.stopwatch)
        try:
            async with (
                worker_on(store, settings, clock=clock, events=self.events) as worker,
                self._page(settings, WorkerPage(store, worker, metrics, _patience(settings))),
            ):
                store.hear(worker.hear)
                running = asyncio.create_task(worker.claiming.run(), name="worker")
                waiting = asyncio.create_task(stop.wait())
                ready = asyncio.create_task(self._ready_after(worker.claiming.first_turn))
                async with self.watched(lambda: worker.claiming.silence() < _patience(settings)):
                    await asyncio.wait([waiting, running], return_when=asyncio.FIRST_COMPLETED)
                    await drained((worker.claiming,), running, worker, settings, clock)
                for task in (waiting, ready):
                    task.cancel()
                await asyncio.wait([waiting, ready])
        finally:
            await asyncio.to_thread(store.close)

    @asynccontextmanager
    async def _page(self, settings: Settings, page: WorkerPage) -> AsyncIterator[None]:
        """Answer on the worker's own port, if it is to have one, until the block is left."""
        if settings.worker_port is None:
            yield
            return
        from backend.executor.web import Front, open_port, serving_on, url_of

        front = Front(lambda: True)
        front.app = page
        with open_port(settings.bind_host, settings.worker_port, "SCHEDULER_WORKER_PORT") as listener:
            async with serving_on(listener, front):
                self.events.emit(WorkerListening(url_of(listener)))
                yield

    async def _ready_after(self, turned: asyncio.Event) -> None:
        await turned.wait()
        self.ready()


def _patience(settings: Settings) -> float:
    return max(STALLED, 3 * settings.poll_interval).total_seconds()


def main() -> None:
    """Work until SIGTERM or SIGINT; exit codes as of the scheduler."""
    take_no_arguments("python -m backend.executor.worker", "Runs one more worker for a database that others plan on.")
    step_aside_as_init()
    Supervisor([WorkerRole()]).run()


if __name__ == "__main__":
    main()
