"""Takes back the leases of workers that fell silent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from backend.engine.retry import settle_lost
from backend.events import AttemptsReaped, Events
from backend.store.port import EngineStore

BATCH = 1000


@dataclass(frozen=True, slots=True)
class Reap:
    """Looks for expired leases three times per lease."""

    store: EngineStore
    events: Events
    wake_workers: Callable[[], None]
    lease: timedelta

    async def turn(self) -> float:
        """Take back one batch; answers the seconds until the next look."""
        reaping = await self.store.reap(settle_lost, BATCH)
        total = reaping.requeued + reaping.ended
        if total:
            self.events.emit(AttemptsReaped(reaping.requeued, reaping.ended))
        if total or reaping.promoted:
            self.wake_workers()
        return 0.0 if total == BATCH else self.lease.total_seconds() / 3
