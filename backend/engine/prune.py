"""Deletes old history, a little at a time."""

from __future__ import annotations

from dataclasses import dataclass, field

from backend.store.port import EngineStore
from backend.store.retention import Retention

BATCH = 500
BREATH = 0.2
"""Seconds between two batches, so that fires never wait for pruning."""
REST = 60.0


@dataclass(slots=True)
class Prune:
    """Walks over the ledger batch by batch, then rests for a minute."""

    store: EngineStore
    keep: Retention
    _next_key: int = field(default=0)

    async def turn(self) -> float:
        """Delete one batch; answers the seconds until the next."""
        pruned = await self.store.prune(self.keep, self._next_key, BATCH)
        self._next_key = pruned.next_key
        return BREATH if pruned.next_key or pruned.runs >= BATCH else REST
