"""Looks for runs that should have begun and have not, where somebody wants to be told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backend.store.port import EngineStore

REST = 10.0
"""Seconds between two looks: nobody can ask to be told of less lateness than that."""


@dataclass(frozen=True, slots=True)
class Lateness:
    """Finds what waits for too long, also when no worker is left that would notice."""

    store: EngineStore
    wake_workers: Callable[[], None]

    async def turn(self) -> float:
        """Look once; answers the seconds until the next look."""
        if await self.store.look_for_late():
            self.wake_workers()
        return REST
