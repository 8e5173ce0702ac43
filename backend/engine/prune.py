"""Deletes old history, a little at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from backend.clock import Clock
from backend.store.port import EngineStore
from backend.store.retention import Retention

BATCH = 500
BREATH = 0.2
"""Seconds between two batches, so that fires never wait for pruning."""
IDLE_REST = 300
"""How many times as long as a batch took it rests after one in which there was little to delete."""
REST = 60.0
AHEAD = 3600.0
"""Seconds between two looks whether there is room for the next weeks."""


@dataclass(slots=True)
class Prune:
    """Walks over the ledger batch by batch, then drops a range that is too old and rests for a minute.

    Hourly, it makes the ranges of the next weeks, wherever its walk is.
    """

    store: EngineStore
    keep: Retention
    clock: Clock
    _next_key: int = field(default=0)
    _ahead_at: float = field(default=-math.inf)

    async def turn(self) -> float:
        """Delete one batch; answers the seconds until the next."""
        began = self.clock.monotonic()
        if began >= self._ahead_at:
            # However long the walk takes: what finds no range lies in the default partition for good.
            self._ahead_at = began + AHEAD
            await self.store.keep_ranges()
            began = self.clock.monotonic()
        pruned = await self.store.prune(self.keep, self._next_key, BATCH)
        self._next_key = pruned.next_key
        if max(pruned.runs, pruned.repeats) >= BATCH:
            return BREATH
        if pruned.next_key:
            return max(BREATH, IDLE_REST * (self.clock.monotonic() - began))
        # Only at rest: it holds the whole ledger for a moment, and a walk that is under way has rows to delete.
        await self.store.keep_ranges(self.keep)
        return REST
