"""Takes back the leases of workers that fell silent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from backend.engine.retry import settle_lost
from backend.events import AttemptsReaped, Events
from backend.model.instants import SECOND
from backend.store.port import EngineStore

BATCH = 1000
AGAIN = 0.05
"""Seconds until the next look at a lease that ends now, or whose schedule somebody else is at."""


@dataclass(slots=True)
class Reap:
    """Looks for expired leases three times per lease, and whenever one ends: nobody waits longer for a dead worker."""

    store: EngineStore
    events: Events
    wake_workers: Callable[[], None]
    lease: timedelta
    _next_key: int = field(default=0)

    async def turn(self) -> float:
        """Take back one batch; answers the seconds until the next look."""
        reaping = await self.store.reap(settle_lost, BATCH, self.lease, self._next_key)
        self._next_key = reaping.next_key
        total = reaping.requeued + reaping.ended
        if total:
            self.events.emit(AttemptsReaped(reaping.requeued, reaping.ended))
        if total or reaping.promoted:
            self.wake_workers()
        if total == BATCH:
            return 0.0
        rest = self.lease.total_seconds() / 3
        if reaping.next_at is None:
            return rest
        return min(rest, max((reaping.next_at - reaping.now) / SECOND, AGAIN))
