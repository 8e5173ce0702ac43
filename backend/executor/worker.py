"""One more worker for a database that others plan on: `python -m backend.executor.worker`."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from backend.clock import SystemClock
from backend.executor.role import Role
from backend.process.arguments import take_no_arguments
from backend.process.init import step_aside_as_init
from backend.process.supervisor import Supervisor

if TYPE_CHECKING:
    from backend.settings import Settings

STALLED = timedelta(seconds=30)


class WorkerRole(Role):
    """Claims runs and works them off. It plans nothing and opens no port."""

    def __init__(self, *, settings: Settings | None = None) -> None:
        super().__init__("worker", settings)

    async def serve(self, settings: Settings, stop: asyncio.Event) -> None:
        """Work until `stop`, then drain."""
        from backend.executor.patience import when_it_answers
        from backend.executor.wiring import drained, worker_on
        from backend.store.open import open_store

        clock = SystemClock()
        store = await when_it_answers(lambda: open_store(settings.database_url), self.events, stop)
        if store is None:
            return
        try:
            async with worker_on(store, settings, clock=clock, events=self.events) as worker:
                store.hear(worker.hear)
                patience = max(STALLED, 3 * settings.poll_interval).total_seconds()
                running = asyncio.create_task(worker.claiming.run(), name="worker")
                waiting = asyncio.create_task(stop.wait())
                ready = asyncio.create_task(self._ready_after(worker.claiming.first_turn))
                async with self.watched(lambda: worker.claiming.silence() < patience):
                    await asyncio.wait([waiting, running], return_when=asyncio.FIRST_COMPLETED)
                    await drained((worker.claiming,), running, worker, settings, clock)
                for task in (waiting, ready):
                    task.cancel()
                await asyncio.wait([waiting, ready])
        finally:
            await asyncio.to_thread(store.close)

    async def _ready_after(self, turned: asyncio.Event) -> None:
        await turned.wait()
        self.ready()


def main() -> None:
    """Work until SIGTERM or SIGINT; exit codes as of the scheduler."""
    take_no_arguments("python -m backend.executor.worker", "Runs one more worker for a database that others plan on.")
    step_aside_as_init()
    Supervisor([WorkerRole()]).run()


if __name__ == "__main__":
    main()
