"""The scheduling system as one process: engine, workers and API in one event loop.

What is slow to import is imported after the port is open.
"""

from __future__ import annotations

import asyncio
import importlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from backend.clock import Clock, SystemClock
from backend.events import Listening
from backend.executor.role import Role

if TYPE_CHECKING:
    from backend.settings import Settings
    from backend.store.port import Store

NAME = "scheduler"


class Scheduler(Role):
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
        super().__init__(NAME, settings)
        self.store = store
        self.clock = clock
        self.stalled_after = stalled_after

    async def serve(self, settings: Settings, stop: asyncio.Event) -> None:
        """Open the port first: whoever probes hears that we are starting, not that nobody is there."""
        from backend.executor.web import Front, open_port, serving_on, url_of

        front = Front(lambda: True)
        with open_port(settings.bind_host, settings.port) as listener:
            async with serving_on(listener, front) as serving:
                await self._run_behind(front, stop, serving, url_of(listener))

    async def _run_behind(self, front: Any, stop: asyncio.Event, serving: asyncio.Task[None], url: str) -> None:  # noqa: ANN401
        assert self.settings is not None
        wiring = await asyncio.to_thread(importlib.import_module, "backend.executor.wiring")
        from backend.executor.patience import when_it_answers
        from backend.service.keys import ensure_admin_key
        from backend.store.open import open_store

        url_of_store = self.settings.database_url
        store = self.store or await when_it_answers(
            lambda: open_store(url_of_store, clock=self.clock), self.events, stop
        )
        if store is None:
            return
        admin, folder = store.admin(), self.settings.data_dir
        try:
            key_file = await when_it_answers(lambda: ensure_admin_key(admin, folder), self.events, stop)
            clock = self.clock or SystemClock()
            async with wiring.system_on(
                store, self.settings, clock=clock, events=self.events, stalled_after=self.stalled_after
            ) as system:
                front.app = system.api()
                self.events.emit(Listening(url, str(key_file)))
                await self.run_system(system, stop, serving)
        finally:
            if self.store is None:
                await asyncio.to_thread(store.close)
